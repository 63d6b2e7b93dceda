/** Checks what a plugin file exports and what its `setup` returns. Every fault is told, with its likely fix. */
import { GatewayError, messageOf } from "../errors.ts"
import { isObject } from "../protocol/json-object.ts"
import { closest } from "../protocol/similar.ts"
import {
  type Abilities,
  type CommonAbilities,
  HOOK_NAMES,
  PLUGIN_TYPES,
  type PluginDefinition,
  type PluginType,
  type ProviderAbilities,
} from "./contract.ts"
import { isVersion, isVersionRange } from "./version.ts"

/** @throws GatewayError `plugin_invalid` */
export function checkDefinition(exported: unknown, source: string): PluginDefinition {
  if (!isRecord(exported)) {
    throw new GatewayError("plugin_invalid", `${source} ${exportFault(exported)}`)
  }
  const faults = [
    ...unknownKeys(exported, Object.keys(DEFINITION_RULES), "property"),
    ...brokenRules(exported, DEFINITION_RULES).map((fault) => `invalid plugin ${fault}`),
  ]
  if (faults.length > 0) throw invalid(`the plugin in ${source} is not valid`, faults)
  return exported as unknown as PluginDefinition
}

/** @throws GatewayError `plugin_invalid` */
export function checkAbilities({ name, type }: PluginDefinition, returned: unknown): Abilities {
  const what = `setup of plugin "${name}"`
  if (!isRecord(returned)) {
    throw invalid(`${what} returned ${kindOf(returned)}`, [
      `return an object with the abilities of type "${type}": ${Object.keys(ABILITY_RULES[type]).join(", ")}`,
    ])
  }
  const rules: Rules = { ...ABILITY_RULES[type], ...COMMON_RULES }
  const faults = [
    // A class instance may keep what it likes on itself; a plain object has no reason to.
    ...(isPlain(returned) ? unknownKeys(returned, Object.keys(rules), `ability of type "${type}"`) : []),
    ...brokenRules(returned, rules),
    ...hookFaults(returned.hooks),
    ...(type === "middleware" && !isCallable(returned) ? [IDLE_MIDDLEWARE] : []),
  ]
  if (faults.length > 0) throw invalid(`${what} returned abilities that are not valid`, faults)
  return returned as unknown as Abilities
}

/** What `listModels` gave. @throws GatewayError `plugin_invalid` */
export function checkModels(listed: unknown): ProviderAbilities["models"] {
  if (!isModels(listed))
    throw invalid("listModels gave something else", [`it ${MODELS}, got ${show(listed)}`])
  return listed
}

interface Rule {
  readonly isOptional: boolean
  readonly isMet: (value: unknown) => boolean
  /** What the value must be, as the end of a sentence. */
  readonly demand: string
}
type Rules = Readonly<Record<string, Rule>>

const must = (demand: string, isMet: Rule["isMet"]): Rule => ({ isOptional: false, isMet, demand })
const may = (demand: string, isMet: Rule["isMet"]): Rule => ({ isOptional: true, isMet, demand })

const isFunction = (value: unknown) => typeof value === "function"
const isBoolean = (value: unknown) => typeof value === "boolean"
const isTexts = (value: unknown) => Array.isArray(value) && value.every((item) => typeof item === "string")
const isPercent = (value: unknown) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 100

const method = must("must be a function", isFunction)
const optionalMethod = may("must be a function", isFunction)
const priority = may("must be an integer from 0 to 100, higher runs first", isPercent)

const MODELS = "must be a list of model names or { id, … } objects"

const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/
const MAX_NAME_LENGTH = 64
/** `/admin/plugins/hooks` is an endpoint. */
const RESERVED_NAMES: readonly unknown[] = ["hooks"]

const DEFINITION_RULES = {
  name: must(
    `must be lower-case letters and digits with dashes between, such as "rate-limiter", at most ${MAX_NAME_LENGTH} characters, and not "hooks"`,
    (value) => isName(value) && !RESERVED_NAMES.includes(value),
  ),
  version: must('must be a semantic version such as "1.0.0"', isVersion),
  type: must(`must be one of ${PLUGIN_TYPES.join(", ")}`, (value) =>
    (PLUGIN_TYPES as readonly unknown[]).includes(value),
  ),
  setup: must("must be a function that returns the plugin's abilities", isFunction),
  description: may("must be text", (value) => typeof value === "string"),
  config: may("must be a schema made with Type.Object({ … })", isObjectSchema),
  dependencies: may('must map plugin names to version ranges: { "geo-ip": "^1.2.0" }', isDependencies),
  loadAfter: may("must be a list of plugin names", isTexts),
  metadata: may("must be plain JSON data", isJsonObject),
} as const satisfies Record<keyof PluginDefinition, Rule>

const COMMON_RULES = {
  hooks: may("must be an object of hook functions", isRecord),
  fetch: optionalMethod,
  public: may("must be true or false", isBoolean),
  shutdown: optionalMethod,
} as const satisfies Readonly<Record<keyof CommonAbilities, Rule>>

const ABILITY_RULES: { readonly [T in PluginType]: Readonly<Record<OwnAbility<T>, Rule>> } = {
  provider: {
    models: must(MODELS, isModels),
    listModels: optionalMethod,
    chat: method,
    embed: optionalMethod,
    healthCheck: optionalMethod,
    estimateCost: optionalMethod,
  },
  middleware: {
    priority,
    routes: may('must be a list of paths such as "/v1/*"', isTexts),
    beforeHandle: optionalMethod,
    afterHandle: optionalMethod,
    onError: optionalMethod,
  },
  router: { priority, routeRequest: method, selectProvider: method },
  cache: {
    priority,
    get: method,
    set: method,
    delete: method,
    clear: method,
    stats: method,
    distributed: must("must be true or false", isBoolean),
  },
  auth: { priority, authenticate: method, authorize: optionalMethod, permissions: optionalMethod },
  monitoring: {
    recordMetric: optionalMethod,
    recordEvent: optionalMethod,
    startTrace: optionalMethod,
    export: optionalMethod,
  },
  transform: {
    priority,
    transformRequest: optionalMethod,
    transformEmbeddingRequest: optionalMethod,
    transformResponse: optionalMethod,
    transformChunk: optionalMethod,
    supportsFormat: method,
  },
}

/** Everything that a plugin of this type may return. */
export function abilityNames(type: PluginType): readonly string[] {
  return [...Object.keys(ABILITY_RULES[type]), ...Object.keys(COMMON_RULES)]
}

type OwnAbility<T extends PluginType> = Exclude<keyof Abilities<T>, keyof CommonAbilities>

function brokenRules(subject: Readonly<Record<string, unknown>>, rules: Rules): string[] {
  return Object.entries(rules).flatMap(([key, { isOptional, isMet, demand }]) => {
    const value = subject[key]
    if (value === undefined) return isOptional ? [] : [`${key}: is missing, ${demand}`]
    return isMet(value) ? [] : [`${key}: ${demand}, got ${show(value)}`]
  })
}

const IDLE_MIDDLEWARE = "a middleware needs one of beforeHandle, afterHandle, onError, fetch or a hook"

function isCallable({
  beforeHandle,
  afterHandle,
  onError,
  fetch,
  hooks,
}: Readonly<Record<string, unknown>>): boolean {
  return (
    [beforeHandle, afterHandle, onError, fetch].some(isFunction) ||
    (isRecord(hooks) && Object.keys(hooks).length > 0)
  )
}

function hookFaults(hooks: unknown): string[] {
  if (!isRecord(hooks)) return []
  const notCallable = Object.entries(hooks)
    .filter(([name, hook]) => hook !== undefined && !isFunction(hook) && isHookName(name))
    .map(([name, hook]) => `hooks.${name}: must be a function, got ${show(hook)}`)
  return [...unknownKeys(hooks, HOOK_NAMES, "hook"), ...notCallable]
}

function isHookName(name: string): boolean {
  return (HOOK_NAMES as readonly string[]).includes(name)
}

function unknownKeys(subject: object, known: readonly string[], what: string): string[] {
  return Object.keys(subject)
    .filter((key) => !known.includes(key))
    .map((key) => {
      const [suggestion] = closest(key, known)
      const hint =
        suggestion === undefined ? `known are ${known.join(", ")}` : `did you mean "${suggestion}"?`
      return `unknown ${what} "${key}": ${hint}`
    })
}

function invalid(what: string, faults: readonly string[]): GatewayError {
  return new GatewayError("plugin_invalid", `${what}: ${faults.join("; ")}`, { details: { faults } })
}

function exportFault(exported: unknown): string {
  if (exported === undefined) {
    return 'has no default export; end it with "export default definePlugin({ … })", or start its name with "_" if it only helps other plugins'
  }
  return `exports ${kindOf(exported)}; export definePlugin({ … }) as its default`
}

function isName(value: unknown): boolean {
  return typeof value === "string" && value.length <= MAX_NAME_LENGTH && NAME.test(value)
}

function isObjectSchema(value: unknown): boolean {
  return isRecord(value) && value.type === "object" && isRecord(value.properties)
}

function isDependencies(value: unknown): boolean {
  return (
    isRecord(value) && Object.entries(value).every(([name, range]) => isName(name) && isVersionRange(range))
  )
}

function isModels(value: unknown): value is ProviderAbilities["models"] {
  return Array.isArray(value) && value.every((model) => isModelId(isRecord(model) ? model.id : model))
}

function isModelId(value: unknown): boolean {
  return typeof value === "string" && value !== ""
}

function isJsonObject(value: unknown): boolean {
  if (!isRecord(value)) return false
  try {
    JSON.stringify(value)
    return true
  } catch {
    return false
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return isObject(value) && !(value instanceof Promise)
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing"
  if (value === null) return "null"
  if (Array.isArray(value)) return "a list"
  if (value instanceof Promise) return "a promise"
  return typeof value === "object" ? "an object" : `a ${typeof value}`
}

function show(value: unknown): string {
  if (typeof value === "function") return "a function"
  try {
    return JSON.stringify(value)?.slice(0, MAX_SHOWN) ?? kindOf(value)
  } catch (thrown) {
    return messageOf(thrown)
  }
}

const MAX_SHOWN = 80
