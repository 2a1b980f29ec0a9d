// The shipped rules and dashboards as a monitoring mixin. docs/mixin.md describes how to use it.
//
// Without changes to `_config` it renders exactly the files in alerts/ and dashboards/.

// Generated from alerts/*.rules.yml, because the YAML parsers of some versions of Jsonnet cannot read them.
local ruleFiles = import 'alerts/rules.json';

// The functions below use `std.split`, `std.substr` and `std.strReplace`, because loops over characters are slow.

local isNameCharacter(c) = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == ':';

// Returns the length of the name at the start of a text.
local nameLength(text, index=0) =
  if index < std.length(text) && isNameCharacter(text[index]) then nameLength(text, index + 1) else index;

local prefix = 'tryvox_';

// Adds a selector to the metrics of the exporter in a text. Names with a colon are recorded from these metrics, and
// `tryvox_threshold` is recorded by users. Without `bare`, only metrics followed by a brace count.
local addSelector(text, selector, bare) =
  // Some versions split only at single characters.
  local parts = std.split(std.strReplace(text, prefix, '\u0000'), '\u0000');
  // `before` is the text before the prefix, `rest` the text after it.
  local metric(before, rest) =
    local length = nameLength(rest), name = std.substr(rest, 0, length);
    local isPartOfName = before != '' && isNameCharacter(before[std.length(before) - 1]);
    local next = std.substr(rest, length, std.length(rest));
    if isPartOfName || name == 'threshold' || std.length(std.findSubstr(':', name)) > 0 then prefix + rest
    else if std.startsWith(next, '{') then '%s%s{%s,%s' % [prefix, name, selector, std.substr(next, 1, std.length(next))]
    else if bare then '%s%s{%s}%s' % [prefix, name, selector, next]
    else prefix + rest;
  parts[0] + std.join('', [metric(parts[i - 1], parts[i]) for i in std.range(1, std.length(parts) - 1)]);

// Adds the selector in the expression of a rule, also to `up`.
local inExpression(expr, selector) =
  local withUp = [if word == 'up' then 'up{%s}' % selector else word for word in std.split(expr, ' ')];
  if selector == '' then expr else addSelector(std.join(' ', withUp), selector, true);

// Adds the selector in the queries of an annotation, which are inside `printf "…"` and in which each metric has a brace.
local inAnnotation(text, selector) =
  local escapes = [['\\', '\\\\'], ['"', '\\"'], ['%', '%%']];
  local escaped = std.foldl(function(text, escape) std.strReplace(text, escape[0], escape[1]), escapes, selector);
  if selector == '' then text else addSelector(text, escaped, false);

// Adds the selector in a query of a dashboard, in which each metric has a matcher for the variable `job`.
local inQuery(query, selector) =
  local matcher = '{job=~"$job"';
  if selector == '' then query else std.strReplace(query, matcher, '{%s,%s' % [selector, std.substr(matcher, 1, 99)]);

// Adds the selector in the query of a variable, in which not every metric has matchers.
local inVariable(query, selector) = if selector == '' then query else addSelector(query, selector, true);

// Replaces the default in `… or on (account) DEFAULT * …`.
local withThreshold(expr, threshold) =
  local start = std.findSubstr('or on (account) ', expr)[0];
  local end = std.findSubstr(' * ', expr)[0];
  '%sor on (account) %.12g%s' % [std.substr(expr, 0, start), threshold, std.substr(expr, end, std.length(expr))];

local rule(config, original) =
  local expr =
    if std.objectHas(original, 'record') && original.record == 'account_name:tryvox_threshold:max'
    then withThreshold(original.expr, config.tryvoxThresholds[original.labels.name])
    else original.expr;
  original { expr: inExpression(expr, config.tryvoxSelector) }
  + if !std.objectHas(original, 'alert') then {} else {
    annotations: {
      [name]: inAnnotation(original.annotations[name], config.tryvoxSelector)
      for name in std.objectFields(original.annotations)
    } + { runbook_url: config.tryvoxRunbookURLPattern % original.alert },
  };

local panel(config, original) =
  original
  + (if !std.objectHas(original, 'targets') then {} else {
       targets: [target { expr: inQuery(target.expr, config.tryvoxSelector) } for target in original.targets],
     })
  + (if !std.objectHas(original, 'panels') then {} else {
       panels: [panel(config, inner) for inner in original.panels],
     });

local dashboard(config, original) = original {
  annotations: {
    list: [
      annotation { expr: inQuery(annotation.expr, config.tryvoxSelector) }
      for annotation in original.annotations.list
    ],
  },
  panels: [panel(config, inner) for inner in original.panels],
  templating: {
    list: [
      if variable.type == 'query' then variable { query: inVariable(variable.query, config.tryvoxSelector) } else variable
      for variable in original.templating.list
    ],
  },
};

{
  _config+:: {
    // Matchers that select the exporters, for example `job="tryvox"`. Only labels that every metric of a target has.
    tryvoxSelector: '',
    // The thresholds of accounts without a `tryvox_threshold` of their own; docs/alerts.md describes them.
    tryvoxThresholds: {
      mass_suspension_ratio: 0.1,
      suspended_seconds: 7 * 86400,
      pending_seconds: 86400,
      removed_ratio: 0.05,
      cost_spike_day_ratio: 0.2,
      cost_spike_week_ratio: 0.3,
      unassigned_spend_ratio: 0.25,
    },
    // The URL of the runbook of an alert, with `%s` for its name.
    tryvoxRunbookURLPattern: 'https://github.com/tryvox-exporter/tryvox-exporter/blob/main/docs/runbooks/%s.md',
    // The files in alerts/ whose rules are included.
    tryvoxRuleFiles: ['tryvox.rules.yml'],
  },

  local config = $._config,

  // Alerting rules and the recording rules they use, which must be in the same group.
  prometheusAlerts+:: {
    groups+: [
      group { rules: [rule(config, original) for original in group.rules] }
      for file in config.tryvoxRuleFiles
      for group in ruleFiles[file].groups
    ],
  },
  prometheusRules+:: { groups+: [] },
  grafanaDashboards+:: {
    'tryvox-costs.json': dashboard(config, import 'dashboards/tryvox-costs.json'),
    'tryvox-exporter.json': dashboard(config, import 'dashboards/tryvox-exporter.json'),
    'tryvox-numbers.json': dashboard(config, import 'dashboards/tryvox-numbers.json'),
  },
}
