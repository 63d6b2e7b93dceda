/** The source of a middleware that puts its number on every reply, on its way in and out, and on every chunk. */
export function versioned(number: number): string {
  return `import { definePlugin } from "leapgate/plugin"

export default definePlugin({
  name: "versioned",
  version: "1.0.${number}",
  type: "middleware",
  setup: () => ({
    beforeHandle(context) {
      context.setHeader("x-version", "${number}")
    },
    afterHandle(context) {
      context.setHeader("x-version-after", "${number}")
    },
    hooks: { onChunk: ({ chunk }) => ({ ...chunk, by: ${number} }) },
  }),
})`
}
