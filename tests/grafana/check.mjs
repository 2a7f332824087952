// Checks dashboards against the types of @grafana/schema: node check.mjs FOLDER-OF-PACKAGES FOLDER-OF-DASHBOARDS
//
// Each dashboard becomes a TypeScript constant of its type, and so do the options of each panel, by the type of the panel.
// Types alone let some misspelled keys pass, so the keys of dashboards, panels and variables are compared as well.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const [packages, dashboards] = process.argv.slice(2).map((folder) => path.resolve(folder));
const ts = createRequire(path.join(packages, "package.json"))("typescript");

// What a panel of each type has in `options` and in `fieldConfig.defaults.custom`; the plugins come with Grafana.
const PANELS = {
    bargauge: { cfg: "bargauge/panelcfg/x/BarGaugePanelCfg_types.gen" },
    stat: { cfg: "stat/panelcfg/x/StatPanelCfg_types.gen" },
    table: { cfg: "table/panelcfg/x/TablePanelCfg_types.gen", custom: "FieldConfig" },
    timeseries: { cfg: "timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen", custom: "FieldConfig" },
};

const failures = [];
const files = fs.readdirSync(dashboards).filter((file) => file.endsWith(".json")).sort();
const read = (file) => JSON.parse(fs.readFileSync(path.join(dashboards, file), "utf8"));
if (files.length === 0) failures.push(`there are no dashboards in ${dashboards}`);

let source = `import type { Dashboard, Panel, RowPanel, VariableModel } from "@grafana/schema";
${Object.entries(PANELS).map(([type, { cfg }]) =>
    `import type * as ${type} from "@grafana/schema/dist/esm/raw/composable/${cfg}";`).join("\n")}
// A JSON file has the values of enumerations, not their names.
type Plain<T> = T extends string ? \`\${T}\`
    : T extends number ? (number extends T ? number : \`\${T}\` extends \`\${infer N extends number}\` ? N : T)
    : T extends (infer U)[] ? Plain<U>[]
    : T extends object ? { [K in keyof T]: Plain<T[K]> }
    : T;
export type Keys = { dashboard: Dashboard; panel: Panel; row: RowPanel; variable: VariableModel };
`;
files.forEach((file, number) => {
    const dashboard = read(file);
    source += `export const dashboard${number}: Plain<Dashboard> = ${JSON.stringify(dashboard, null, 1)};\n`;
    for (const panel of dashboard.panels) {
        if (panel.type === "row") continue;
        const known = PANELS[panel.type];
        if (known === undefined) {
            failures.push(`${file}: "${panel.title}" is of the type ${panel.type}, which this check does not know`);
            continue;
        }
        const name = `panel${number}_${panel.id}`;
        source += `export const ${name}: Plain<Partial<${panel.type}.Options>> = ${JSON.stringify(panel.options)};\n`;
        if (known.custom && panel.fieldConfig.defaults.custom)
            source += `export const ${name}_custom: Plain<Partial<${panel.type}.${known.custom}>> = ${JSON.stringify(panel.fieldConfig.defaults.custom)};\n`;
    }
});

const main = path.join(packages, `check-${process.pid}.ts`);
const options = {
    strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, types: [],
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
};
const host = ts.createCompilerHost(options);
const { readFile, fileExists, getSourceFile } = host;
host.fileExists = (name) => name === main || fileExists.call(host, name);
host.readFile = (name) => (name === main ? source : readFile.call(host, name));
host.getSourceFile = (name, ...rest) =>
    name === main ? ts.createSourceFile(name, source, options.target) : getSourceFile.call(host, name, ...rest);
const program = ts.createProgram([main], options, host);
const own = program.getSourceFile(main);
for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
    const { line } = own.getLineAndCharacterOfPosition(diagnostic.start ?? 0);
    const near = source.split("\n").slice(Math.max(0, line - 1), line + 1).join(" ").slice(0, 160);
    failures.push(`${ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")}\n    near ${near}`);
}

// The keys that each type has.
const checker = program.getTypeChecker();
const keys = {};
ts.forEachChild(own, (node) => {
    if (!ts.isTypeAliasDeclaration(node) || node.name.text !== "Keys") return;
    for (const property of checker.getTypeAtLocation(node).getProperties()) {
        const type = checker.getTypeOfSymbolAtLocation(property, node);
        keys[property.name] = new Set(type.getProperties().map((one) => one.name));
    }
});
const compare = (place, object, known) => {
    for (const key of Object.keys(object))
        if (!known.has(key)) failures.push(`${place}: Grafana knows no ${key} here`);
};
const uids = new Set();
for (const file of files) {
    const dashboard = read(file);
    compare(file, dashboard, keys.dashboard);
    for (const variable of dashboard.templating.list) compare(`${file}: ${variable.name}`, variable, keys.variable);
    const ids = new Set();
    for (const panel of dashboard.panels) {
        const place = `${file}: ${panel.title}`;
        compare(place, panel, panel.type === "row" ? keys.row : keys.panel);
        if (ids.has(panel.id)) failures.push(`${place}: the id ${panel.id} is another panel's`);
        ids.add(panel.id);
        if (panel.type === "row") continue;
        if (!panel.description) failures.push(`${place} says nothing about what it shows`);
        if (!panel.fieldConfig.defaults.unit && panel.type !== "table") failures.push(`${place} has no unit`);
        for (const target of panel.targets)
            if (target.datasource.uid !== "${datasource}") failures.push(`${place} asks another data source`);
    }
    if (uids.has(dashboard.uid)) failures.push(`${file}: the uid ${dashboard.uid} is another dashboard's`);
    uids.add(dashboard.uid);
}

if (failures.length > 0) {
    console.error(failures.join("\n"));
    process.exit(1);
}
console.log(`${files.length} dashboards are what Grafana expects`);
