//! The distinct assignments of a listing, from the optional labels of its fold.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::Assignment;
use super::class::OptionalLabels;
use super::index::index;
use super::interner::{StringId, StringInterner};
use crate::tryvox::{FieldSet, OptionalField};

/// Converts indexes of optional labels to indexes of assignments, of which there are fewer.
pub(super) struct AssignmentTable<'a> {
    strings: &'a StringInterner,
    labels: &'a IndexSet<OptionalLabels, RandomState>,
    assignments: IndexSet<Assignment, RandomState>,
    /// The index of the assignment by that of the optional labels, for numbers whose fields can all be read.
    readable: Vec<Option<u32>>,
    /// The same for other numbers.
    unreadable: HashMap<(u32, FieldSet), u32, RandomState>,
}

impl<'a> AssignmentTable<'a> {
    pub(super) fn new(strings: &'a StringInterner, labels: &'a IndexSet<OptionalLabels, RandomState>) -> Self {
        let readable = vec![None; labels.len()];
        Self { strings, labels, assignments: IndexSet::default(), readable, unreadable: HashMap::default() }
    }

    /// Returns the index of the assignment of a number with these optional labels and unreadable fields.
    pub(super) fn index_of(&mut self, labels: u32, unreadable: FieldSet) -> u32 {
        let is_readable = unreadable == FieldSet::default();
        let known = match self.readable.get(labels as usize) {
            Some(known) if is_readable => *known,
            _ => self.unreadable.get(&(labels, unreadable)).copied(),
        };
        if let Some(index) = known {
            return index;
        }
        let assignment = self.labels.get_index(labels as usize).map_or_else(Assignment::default, |labels| {
            let id = |id: StringId, field| (!unreadable.contains(field)).then(|| Arc::clone(&self.strings[id]));
            Assignment {
                trunk: id(labels.trunk, OptionalField::TrunkId),
                application: id(labels.application, OptionalField::ApplicationId),
            }
        });
        let index = index(self.assignments.insert_full(assignment).0);
        match self.readable.get_mut(labels as usize) {
            Some(known) if is_readable => *known = Some(index),
            _ => _ = self.unreadable.insert((labels, unreadable), index),
        }
        index
    }

    /// Returns all assignments, by their indexes.
    pub(super) fn into_assignments(self) -> IndexSet<Assignment, RandomState> {
        self.assignments
    }
}
