import { createHash } from "node:crypto"
import { basename, join, parse, relative, resolve } from "node:path"
import { loadConfig } from "../config/load.ts"
import { GatewayError } from "../errors.ts"
import { pluginDirectory } from "../plugin-settings.ts"
import { buildError } from "../source/build.ts"
import { HOST_MODULES } from "../source/host-module-names.ts"
import { runBun } from "./own-bun.ts"
import { readDefinition } from "./plugin-definition.ts"
import { homeOf, pluginTarget } from "./plugin-target.ts"
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
  const loaded = loadConfig({ path: config, env, cwd })
  const plugin = await pluginTarget(target, loaded, cwd)
  const { file } = plugin
  const { definition } = await readDefinition(file, homeOf(plugin, pluginDirectory(loaded)))
  const { name, version } = definition
  const to = resolve(cwd, path ?? join("dist", `${name}.mjs`))
  if (to === file) {
    throw new GatewayError(
      "plugin_conflict",
      `${to} is the plugin's own source; name another file with --out`,
    )
  }
  const bundle = await bundleOf(file, env)
  await Bun.write(to, bundle)
  const hash = createHash("sha256").update(bundle).digest("hex")
  out(`${name} ${version} → ${relative(cwd, to)}`)
  out(`${bundle.length} bytes`)
  out(`sha256 ${hash}`)
  return 0
}

async function bundleOf(entry: string, env: Terminal["env"]): Promise<string> {
  await assertOneFile(entry)
  const { dir, base } = parse(entry)
  const externals = HOST_MODULES.flatMap((name) => ["--external", name])
  // In a process of its own: names of files in the bundle are relative to the folder that it runs in, so that the
  // same source gives the same bytes, wherever it lies.
  const flags = ["--target=bun", "--format=esm", "--sourcemap=inline", ...externals]
  const { exitCode, stdout, stderr } = await runBun(["build", base, ...flags], { cwd: dir, env })
  if (exitCode === 0) return stdout
  throw new GatewayError("plugin_load_failed", `${entry} cannot be bundled: ${stderr.trim()}`)
}

/** Tells faults with their places, too. */
async function assertOneFile(entry: string): Promise<void> {
  const { success, logs, outputs } = await Bun.build({
    entrypoints: [entry],
    target: "bun",
    external: [...HOST_MODULES],
    throw: false,
  })
  if (!success) throw buildError(entry, logs)
  const more = outputs.slice(1).map(({ path }) => basename(path))
  if (more.length === 0) return
  throw new GatewayError(
    "plugin_unsupported",
    `the plugin cannot be one file: it also needs ${more.join(", ")}; copy its folder with its node_modules instead`,
  )
}
