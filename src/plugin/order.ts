/** Who has to be there before whom. */
import { DepGraph, DepGraphCycleError } from "dependency-graph"
import { GatewayError } from "../errors.ts"

export interface Ordered {
  readonly name: string
  /** Name → version range; they must be active. */
  readonly dependencies: Readonly<Record<string, string>>
  /** These go first where they are present. */
  readonly loadAfter: readonly string[]
}

export interface LoadOrder {
  /** The present plugins that go before each plugin. */
  readonly waitsFor: ReadonlyMap<string, readonly string[]>
  /** Plugins that cannot be loaded: each depends on itself in the end. */
  readonly cycles: ReadonlyMap<string, GatewayError>
}

/** Orders plugins by what they need. A `loadAfter` that would close a circle is a wish, and is left out. */
export function loadOrder(plugins: readonly Ordered[]): LoadOrder {
  const graph = graphOf(plugins)
  const cycles = takeCycles(graph)
  for (const { name, loadAfter } of plugins) {
    for (const earlier of loadAfter) {
      if (!graph.hasNode(name) || !graph.hasNode(earlier) || earlier === name) continue
      if (!graph.dependenciesOf(earlier).includes(name)) graph.addDependency(name, earlier)
    }
  }
  const waitsFor = new Map(graph.overallOrder().map((name) => [name, graph.directDependenciesOf(name)]))
  return { waitsFor, cycles }
}

/**
 * Runs a task for every item, each as soon as those it waits for are done; where items wait for each other,
 * one of them goes first. All are tried: if one rejects, the whole rejects when the others are done.
 */
export async function inOrder<T>(
  items: readonly T[],
  waitsFor: (item: T) => readonly T[],
  task: (item: T) => Promise<void>,
): Promise<void> {
  const started = new Map<T, Promise<void>>()
  const outcomes = await Promise.allSettled(items.map((item) => start(item, [])))
  const failed = outcomes.find(({ status }) => status === "rejected")
  if (failed?.status === "rejected") throw failed.reason

  function start(item: T, waiting: readonly T[]): Promise<void> {
    const running = started.get(item) ?? afterOthers(item, [...waiting, item])
    started.set(item, running)
    return running
  }

  async function afterOthers(item: T, waiting: readonly T[]): Promise<void> {
    const others = waitsFor(item).filter((other) => items.includes(other) && !waiting.includes(other))
    await Promise.allSettled(others.map((other) => start(other, waiting)))
    await task(item)
  }
}

function graphOf(plugins: readonly Ordered[]): DepGraph<Ordered> {
  const graph = new DepGraph<Ordered>()
  for (const plugin of plugins) graph.addNode(plugin.name, plugin)
  for (const { name, dependencies } of plugins) {
    for (const needed of Object.keys(dependencies))
      if (graph.hasNode(needed)) graph.addDependency(name, needed)
  }
  return graph
}

/** Takes the members of every circle out of the graph, until none is left. */
function takeCycles(graph: DepGraph<Ordered>): ReadonlyMap<string, GatewayError> {
  const cycles = new Map<string, GatewayError>()
  for (let members = findCycle(graph); members !== undefined; members = findCycle(graph)) {
    const error = new GatewayError(
      "plugin_dependency_failed",
      `plugins depend on each other: ${members.join(" → ")}; remove one of these dependencies`,
    )
    for (const name of members) {
      cycles.set(name, error)
      graph.removeNode(name)
    }
  }
  return cycles
}

/** The names around the circle; the first one is also the last. */
function findCycle(graph: DepGraph<Ordered>): readonly string[] | undefined {
  try {
    graph.overallOrder()
    return undefined
  } catch (thrown) {
    if (!(thrown instanceof DepGraphCycleError)) throw thrown
    const path = thrown.cyclePath
    // The path starts where the search did, which may be outside the circle.
    return path.slice(path.indexOf(path.at(-1) ?? ""))
  }
}
