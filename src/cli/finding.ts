/** What a check of `leapgate doctor` or `leapgate plugin verify` found. */
export interface Finding {
  readonly state: "good" | "doubtful" | "bad"
  readonly text: string
}

export const good = (text: string): Finding => ({ state: "good", text })
export const doubtful = (text: string): Finding => ({ state: "doubtful", text })
export const bad = (text: string): Finding => ({ state: "bad", text })

const MARKS = { good: "✓", doubtful: "!", bad: "✗" } as const satisfies Record<Finding["state"], string>

/** @returns the exit code: 1 where something is bad */
export function showFindings(findings: readonly Finding[], out: (text: string) => void): number {
  for (const { state, text } of findings) out(`${MARKS[state]} ${text.replaceAll("\n", "\n  ")}`)
  return findings.some(({ state }) => state === "bad") ? 1 : 0
}
