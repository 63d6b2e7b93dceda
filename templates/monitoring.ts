/** Counts answers, failures and tokens by model, for the log and for `/metrics`. */
import { definePlugin, Type } from "leapgate/plugin"

interface Counts {
  answers: number
  failures: number
  tokens: number
}

export default definePlugin({
  name: "template-monitoring",
  version: "1.0.0",
  type: "monitoring",
  description: "Counts answers, failures and tokens by model",
  config: Type.Object({
    every: Type.Duration({ default: "1m", description: "How often a summary is logged" }),
  }),

  setup({ config, log, onDispose }) {
    const byModel = new Map<string, Counts>()
    const timer = setInterval(report, config.every)
    // Clean-ups stand beside what they clean; they run when this version goes.
    onDispose(() => clearInterval(timer))

    return {
      // Observers are told afterwards: they delay nobody and can change nothing.
      hooks: {
        onResponse({ model, tokensUsed = 0 }) {
          const counts = countsOf(model)
          counts.answers++
          counts.tokens += tokensUsed
        },
        onError({ model }) {
          countsOf(model).failures++
        },
      },

      // Text in the Prometheus format, for /metrics.
      export() {
        const lines = [...byModel].map(
          ([model, { tokens }]) => `template_tokens_total{model=${JSON.stringify(model)}} ${tokens}`,
        )
        return ["# TYPE template_tokens_total counter", ...lines, ""].join("\n")
      },

      shutdown: report,
    }

    function countsOf(model: string): Counts {
      const counts = byModel.get(model) ?? { answers: 0, failures: 0, tokens: 0 }
      byModel.set(model, counts)
      return counts
    }

    function report(): void {
      for (const [model, counts] of byModel) log.info("a summary", { model, ...counts })
    }
  },
})
