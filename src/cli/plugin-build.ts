import { createHash } from "node:crypto"
import { basename, dirname, join, relative, resolve } from "node:path"
import { loadConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import { buildError } from "../plugin/build.ts"
import { HOST_MODULES } from "../plugin/host-modules.ts"
import { readDefinition } from "./plugin-definition.ts"
import { pluginTarget } from "./plugin-target.ts"
import type { ConfigOption } from "./program.ts"
import type { Terminal } from "./terminal.ts"

interface BuildOptions extends ConfigOption {
  readonly out?: string
}

/** Bundles a plugin and its packages into one file for the plugin directory of another machine. */
export async function buildPlugin(
  target: string,
  { out: path, config }: BuildOptions,
  { out, env, cwd }: Terminal,
): Promise<number> {
  const { file } = await pluginTarget(target, loadConfig({ path: config, env, cwd }), cwd)
  const { name, version } = await readDefinition(file)
  const to = resolve(cwd, path ?? join("dist", `${name}.mjs`))
  if (to === file) {
    throw new GatewayError(
      "plugin_conflict",
      `${to} is the plugin's own source; name another file with --out`,
    )
  }
  const bundle = await bundleOf(file)
  await Bun.write(to, bundle)
  const hash = createHash("sha256").update(bundle).digest("hex")
  out(`${name} ${version} → ${relative(cwd, to)}`)
  out(`${bundle.length} bytes`)
  out(`sha256 ${hash}`)
  return 0
}

async function bundleOf(entry: string): Promise<string> {
  const { success, logs, outputs } = await Bun.build({
    entrypoints: [entry],
    // The same source gives the same bytes, wherever it lies.
    root: dirname(entry),
    naming: `${basename(entry).replace(/\.\w+$/, "")}.[ext]`,
    target: "bun",
    format: "esm",
    sourcemap: "inline",
    external: [...HOST_MODULES],
    throw: false,
  })
  const [bundle, ...more] = outputs
  if (!success || bundle === undefined) throw buildError(entry, logs)
  if (more.length === 0) return bundle.text()
  const files = more.map(({ path }) => basename(path)).join(", ")
  throw new GatewayError(
    "plugin_unsupported",
    `the plugin cannot be one file: it also needs ${files}; copy its folder with its node_modules instead`,
  )
}
