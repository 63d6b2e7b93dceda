import pino from "pino"
import { createRedactor, type Redactor } from "./redact.ts"

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent"

type LogFields = Readonly<Record<string, unknown>>

export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds these fields to every line. A line's own field of such a name gets a `_` at its end. */
  child(bindings: LogFields): Logger
}

export interface RootLogger extends Logger {
  /** Takes effect at once, for every child too. */
  setLevel(level: LogLevel): void
}

interface LoggerOptions {
  readonly level: LogLevel
  /** Gets each line, with its newline; standard error where it is absent. */
  readonly destination?: (line: string) => void
  /** Share one to register secrets with it. */
  readonly redactor?: Redactor
}

/** JSON lines: level, time (ISO), message, then the fields, redacted. A line below the level costs a comparison. */
export function createLogger({ level, destination, redactor = createRedactor() }: LoggerOptions): RootLogger {
  const core = pino(
    {
      level,
      base: null,
      messageKey: "message",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination === undefined ? standardError() : { write: destination },
  )
  return { ...withBindings({}), setLevel }

  function setLevel(next: LogLevel): void {
    core.level = next
  }

  function withBindings(bindings: LogFields): Logger {
    return {
      debug: (message, fields) => write("debug", message, fields),
      info: (message, fields) => write("info", message, fields),
      warn: (message, fields) => write("warn", message, fields),
      error: (message, fields) => write("error", message, fields),
      child: (more) => withBindings({ ...bindings, ...more }),
    }

    function write(
      level: "debug" | "info" | "warn" | "error",
      message: string,
      fields: LogFields = {},
    ): void {
      if (!core.isLevelEnabled(level)) return
      // Without a prototype, so that a field called `__proto__` is a field.
      const line: Record<string, unknown> = Object.create(null)
      line.message = redactor.redactText(String(message))
      for (const part of [bindings, fields]) addFields(line, redactor.redact(part))
      core[level](line)
    }
  }
}

/** Keys of the line itself; a field of the same name would make it ambiguous, as one of a binding's would. */
const RESERVED = new Set(["level", "time", "message"])

function addFields(line: Record<string, unknown>, fields: unknown): void {
  // What could not be read at all comes as a text that says so.
  const named = typeof fields === "object" && fields !== null ? fields : { fields }
  for (const [key, value] of Object.entries(named)) {
    line[RESERVED.has(key) || key in line ? `${key}_` : key] = value
  }
}

const MAX_BUFFERED_BYTES = 2 ** 20

function standardError(): pino.DestinationStream {
  const stream = pino.destination({ dest: 2, sync: true, maxLength: MAX_BUFFERED_BYTES })
  // A full disk behind standard error, or nobody reading it, must not stop the gateway; there is nowhere to say so.
  stream.on("error", () => {})
  return stream
}
