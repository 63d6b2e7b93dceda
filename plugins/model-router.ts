/** Sends requests to a provider by rules on the model's name, the prompt's size and the headers. */
import { type AvailableProvider, definePlugin, matcher, type RouteRequest, Type } from "leapgate/plugin"

const Pattern = (description: string) => Type.Optional(Type.String({ description }))
const Size = (description: string) => Type.Optional(Type.Integer({ minimum: 0, description }))

export default definePlugin({
  name: "model-router",
  version: "1.0.0",
  type: "router",
  description: "Chooses a provider by rules; the first rule that fits wins",
  metadata: { tags: ["routing"] },
  config: Type.Object({
    rules: Type.Array(
      Type.Object({
        when: Type.Object(
          {
            model: Pattern("The model asked for; * stands for any run of characters"),
            min_prompt_bytes: Size("The request body is at least this large"),
            max_prompt_bytes: Size("The request body is at most this large"),
            header: Type.Optional(
              Type.Object({
                name: Type.String({ minLength: 1 }),
                equals: Pattern("Exactly this value"),
                matches: Pattern("A value with * for any run of characters"),
              }),
            ),
          },
          { default: {}, description: "All of them must hold; none: every request" },
        ),
        to: Type.String({ minLength: 1, description: "provider, or provider/model to change the model too" }),
      }),
      { default: [] },
    ),
  }),

  setup({ config, log }) {
    const rules = config.rules.map((rule) => ({ fits: compile(rule.when), to: rule.to }))
    const targetOf = (request: RouteRequest) => rules.find((rule) => rule.fits(request))?.to

    const toldOf = new Set<string>()

    return {
      priority: 50,
      routeRequest: (request) => targetOf(request) !== undefined,
      selectProvider(request, available) {
        const target = targetOf(request)
        if (target === undefined || isServed(target, available)) return target
        if (!toldOf.has(target)) {
          toldOf.add(target)
          log.warn("a rule's target is served by no provider, so the rule is passed over", { to: target })
        }
        return undefined
      },
    }
  },
})

interface Conditions {
  readonly model?: string
  readonly min_prompt_bytes?: number
  readonly max_prompt_bytes?: number
  readonly header?: { readonly name: string; readonly equals?: string; readonly matches?: string }
}

/** Only the conditions that a rule has are looked at. */
function compile(when: Conditions): (request: RouteRequest) => boolean {
  const conditions: ((request: RouteRequest) => boolean)[] = []
  const { model, min_prompt_bytes: min, max_prompt_bytes: max, header } = when
  if (min !== undefined) conditions.push((request) => request.bodyBytes >= min)
  if (max !== undefined) conditions.push((request) => request.bodyBytes <= max)
  if (model !== undefined) {
    const matches = matcher([model])
    conditions.push((request) => matches(request.model))
  }
  if (header !== undefined) {
    const { name, equals, matches: pattern = "*" } = header
    const matches = matcher([pattern])
    conditions.push(({ headers }) => {
      const value = headers.get(name)
      return value !== null && (equals === undefined || value === equals) && matches(value)
    })
  }
  return (request) => conditions.every((holds) => holds(request))
}

/** Whether the target is a provider, or a model that its provider serves; one that lists no models serves any. */
function isServed(target: string, available: readonly AvailableProvider[]): boolean {
  if (available.some(({ name }) => name === target)) return true
  const slash = target.indexOf("/")
  const provider = available.find(({ name }) => name === target.slice(0, slash))
  if (slash < 1 || provider === undefined) return false
  return provider.models.length === 0 || provider.models.some(({ id }) => id === target.slice(slash + 1))
}
