/** What a check of `leapgate doctor` found. */
export interface Finding {
  readonly state: "good" | "doubtful" | "bad"
  readonly text: string
}

export const good = (text: string): Finding => ({ state: "good", text })
export const doubtful = (text: string): Finding => ({ state: "doubtful", text })
export const bad = (text: string): Finding => ({ state: "bad", text })
