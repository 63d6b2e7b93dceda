/** Plugins whose doings can be read in the gateway's log. */

interface WitnessText {
  readonly name: string
  readonly version?: string
  readonly type?: string
  /** More properties of the definition, as source. */
  readonly more?: string
  /** Body of `setup`, before it returns; `say(text)` is there. */
  readonly setup?: string
  /** Properties of the abilities, as source. */
  readonly abilities?: string
}

/** The source of a plugin. It says "up" when it is set up and "down" when it is disposed. */
export function witness({ name, version = "1.0.0", type = "monitoring", ...text }: WitnessText): string {
  return `import { definePlugin, GatewayError, Type } from "leapgate/plugin"
export default definePlugin({
  name: "${name}", version: "${version}", type: "${type}", ${text.more ?? ""}
  async setup({ config, log, signal, onDispose, state }) {
    const say = (what) => log.info("witness: ${name} " + what)
    ${text.setup ?? ""}
    onDispose(() => say("down"))
    say("up")
    return { ${text.abilities ?? ""} }
  },
})
`
}

/** What plugins said so far, in order: `name what`. */
export function said(logs: string): readonly string[] {
  return [...logs.matchAll(/"message":"witness: ([^"]*)"/g)].map(([, what = ""]) => what)
}

export function countOf(logs: string, what: string): number {
  return said(logs).filter((line) => line === what).length
}
