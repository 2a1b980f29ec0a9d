//! Reading files: the web configuration file, certificates and keys.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Maximum size of a file, in bytes; far above the size of any valid one.
const MAX_FILE_SIZE: u64 = 4 << 20;

/// Reads a file.
///
/// # Errors
/// If the file cannot be read or is too large; the message names the file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let result = File::open(path).and_then(|file| file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes));
    match result {
        Ok(size) if size as u64 > MAX_FILE_SIZE => {
            Err(format!("{}: is larger than {} MiB", path.display(), MAX_FILE_SIZE >> 20))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: cannot be read: {error}; check its path, owner and mode", path.display())),
    }
}
