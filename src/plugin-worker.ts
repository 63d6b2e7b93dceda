/** The program of a worker that a plugin runs in; the binary has it as an entry point of its own. */
import { bundledPlugins } from "./bundled.ts"
import { serveWorker } from "./plugin/worker-entry.ts"

serveWorker(bundledPlugins())
