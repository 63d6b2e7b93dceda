import type { Config } from "./schema.ts"

/** The keys that two configurations differ in, and that a running gateway does not follow. */
export function needsRestart(old: Config, next: Config): readonly string[] {
  return FIXED_AT_START.filter((name) => !Bun.deepEquals(settingOf(old, name), settingOf(next, name)))
}

const FIXED_AT_START = [
  "server.host",
  "server.port",
  "server.workers",
  "admin.listen",
  "plugins.enabled",
  "plugins.directory",
  "plugins.auto_load",
  "plugins.hot_reload",
  "plugins.reload_interval",
  "plugins.max_plugins",
  "plugins.timeout",
  "plugins.max_concurrent",
  "plugins.locked",
  "plugins.drain_timeout",
  "plugins.breaker",
  "plugins.watchdog",
] as const

function settingOf(config: Config, name: (typeof FIXED_AT_START)[number]): unknown {
  const [section, key] = name.split(".") as ["server" | "admin" | "plugins", string]
  return (config[section] as Readonly<Record<string, unknown>>)[key]
}
