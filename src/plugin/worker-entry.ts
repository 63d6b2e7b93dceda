/** The program of a plugin's worker: brings one plugin to life, and answers the gateway's calls. */
import { GatewayError, messageOf } from "../errors.ts"
import { type Abilities, type Awaitable, HOOK_NAMES, type PluginDefinition } from "./contract.ts"
import { hardenGlobals } from "./hardening.ts"
import { registerHostModules } from "./host-modules.ts"
import { Lifetime } from "./lifetime.ts"
import { createModuleHost, type PluginModule } from "./module-host.ts"
import { resolveConfig } from "./plugin-config.ts"
import { setupContext } from "./setup-context.ts"
import type { BundledPlugin } from "./sources.ts"
import { abilityNames, checkAbilities, checkDefinition } from "./validate.ts"
import { type UnpackedArguments, unpackArguments } from "./worker-arguments.ts"
import {
  type AbilityShape,
  type FromWorker,
  hookPath,
  type StartPlan,
  type ToWorker,
} from "./worker-protocol.ts"
import { type WorkerServices, workerServices } from "./worker-services.ts"
import { packError, packResult, unpackError, type WireError } from "./worker-wire.ts"

/** How often a worker with a limit looks at its heap. */
const MEMORY_CHECK_MS = 250
/** What `supportsFormat` is asked beforehand. */
const FORMATS = ["openai-chat", "openai-embeddings"] as const

declare const self: Worker

/** Serves the gateway that started this worker. */
export function serveWorker(bundled: readonly BundledPlugin[]): void {
  let services: WorkerServices | undefined
  let plugin: LivePlugin | undefined
  const send = (message: FromWorker) => self.postMessage(message)
  hardenGlobals()
  registerHostModules()
  self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
    if (data.kind === "start") void start(data.plan)
    else if (data.kind === "ping") send({ kind: "pong" })
    else if (data.kind === "call") void plugin?.call(data)
    else if (data.kind === "abort") plugin?.abort(data.id, data.reason)
    else if (data.kind === "answer") services?.answered(data.id, data.outcome)
    else void plugin?.dispose().then(() => send({ kind: "disposed" }))
  }

  async function start(plan: StartPlan): Promise<void> {
    const moduleHost = createModuleHost()
    services = workerServices(plan, moduleHost, send)
    watchMemory(plan.memoryBytes, send)
    let stage: "load" | "setup" | "abilities" = "load"
    try {
      const module = await open(plan)
      const definition = checkDefinition(module.exports, plan.artefact ?? plan.name)
      const config = resolveConfig(plan.name, definition.config, plan.config)
      const { log, clock } = services
      const lifetime = new Lifetime({ log, clock, module, timeoutMs: plan.cleanUpTimeoutMs })
      const context = setupContext({ definition, lifetime, config }, services)
      stage = "setup"
      const setup = () => definition.setup(context as Parameters<typeof definition.setup>[0])
      const returned: unknown = await module.run(setup)
      stage = "abilities"
      const abilities = checkAbilities(definition, returned)
      const shape = module.run(() => shapeOf(definition, abilities))
      plugin = new LivePlugin({ module, lifetime, abilities, send })
      send({ kind: "ready", shape })
    } catch (thrown) {
      send({ kind: "refused", stage, error: packError(thrown) })
    }

    function open({ name, artefact }: StartPlan): Awaitable<PluginModule> {
      const onError = (thrown: unknown) => send({ kind: "late", error: packError(thrown) })
      if (artefact !== undefined) {
        return moduleHost.import(artefact, { onError, signal: new AbortController().signal })
      }
      const found = bundled.find(({ definition }) => definition.name === name)
      if (found === undefined) throw new GatewayError("plugin_load_failed", `no plugin "${name}" is bundled`)
      return moduleHost.adopt(found.definition, { onError })
    }
  }
}

interface LivePluginOptions {
  readonly module: PluginModule
  readonly lifetime: Lifetime
  readonly abilities: Abilities
  readonly send: (message: FromWorker) => void
}

interface OpenCall {
  controller: AbortController | undefined
  reason: unknown
  isAborted: boolean
}

class LivePlugin {
  readonly #options: LivePluginOptions
  readonly #open = new Map<number, OpenCall>()

  constructor(options: LivePluginOptions) {
    this.#options = options
  }

  async call({ id, path, args: wires }: Extract<ToWorker, { kind: "call" }>): Promise<void> {
    const { module, send } = this.#options
    const call: OpenCall = { controller: undefined, reason: undefined, isAborted: false }
    this.#open.set(id, call)
    const unpacked = unpackArguments(wires, () => signalOf(call))
    for (const wire of wires) abortIfSent(call, wire)
    try {
      const result = await module.run(this.#function(path), ...unpacked.args)
      const value = await packResult(result, unpacked)
      send({ kind: "done", id, outcome: { value }, effects: unpacked.effects() })
    } catch (thrown) {
      this.#threw(id, thrown, unpacked)
    } finally {
      this.#open.delete(id)
    }
  }

  abort(id: number, reason: WireError): void {
    const call = this.#open.get(id)
    if (call !== undefined) abortCall(call, unpackError(reason))
  }

  async dispose(): Promise<void> {
    const { lifetime, abilities } = this.#options
    const reason = new GatewayError("plugin_failed", "the plugin was taken out of service")
    await lifetime.end(reason, abilities.shutdown?.bind(abilities))
  }

  /** The first try to tell may have failed because something in it cannot be sent: then this says so. */
  #threw(id: number, thrown: unknown, unpacked: UnpackedArguments): void {
    const { send } = this.#options
    const outcome = { error: packError(asUnsendable(thrown)) }
    try {
      send({ kind: "done", id, outcome, effects: unpacked.effects() })
    } catch (again) {
      send({ kind: "done", id, outcome: { error: packError(asUnsendable(again)) }, effects: [] })
    }
  }

  #function(path: string): (...args: unknown[]) => unknown {
    const { abilities } = this.#options
    const owner: object = path.startsWith(hookPath("")) ? (abilities.hooks ?? {}) : abilities
    const fn: unknown = Reflect.get(owner, path.replace(hookPath(""), ""), owner)
    if (typeof fn !== "function") throw new Error(`the plugin has no ${path} any more`)
    return fn.bind(owner)
  }
}

function signalOf(call: OpenCall): AbortSignal {
  call.controller ??= new AbortController()
  if (call.isAborted) call.controller.abort(call.reason)
  return call.controller.signal
}

function abortCall(call: OpenCall, reason: unknown): void {
  call.isAborted = true
  call.reason = reason
  call.controller?.abort(reason)
}

function abortIfSent(call: OpenCall, wire: Extract<ToWorker, { kind: "call" }>["args"][number]): void {
  const parts = wire.kind === "object" ? Object.values(wire.fields) : [wire]
  for (const part of parts) {
    if (part.kind === "signal" && part.reason !== undefined) abortCall(call, unpackError(part.reason))
  }
}

function asUnsendable(thrown: unknown): unknown {
  if (!(thrown instanceof DOMException) || thrown.name !== "DataCloneError") return thrown
  return new Error(
    `what it returned cannot leave its worker, because it is no plain data: ${messageOf(thrown)}`,
  )
}

function shapeOf({ type }: PluginDefinition, abilities: Abilities): AbilityShape {
  const known = abilityNames(type).map((name) => [name, Reflect.get(abilities, name, abilities)] as const)
  const functions = known.filter(([, value]) => typeof value === "function").map(([name]) => name)
  const values = known.filter(
    ([name, value]) => name !== "hooks" && typeof value !== "function" && value !== undefined,
  )
  const hooks = HOOK_NAMES.filter((name) => typeof abilities.hooks?.[name] === "function")
  const supports = "supportsFormat" in abilities ? abilities.supportsFormat.bind(abilities) : () => false
  return {
    functions,
    hooks,
    values: Object.fromEntries(values),
    formats: FORMATS.filter((format) => supports(format)),
  }
}

function watchMemory(limit: number | undefined, send: (message: FromWorker) => void): void {
  if (limit === undefined) return
  setInterval(() => {
    const bytes = process.memoryUsage().heapUsed
    if (bytes > limit) send({ kind: "memory", bytes })
  }, MEMORY_CHECK_MS).unref()
}
