/** A registry of npm packages on 127.0.0.1, for Bun's package manager. */
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface PublishedPackage {
  readonly name: string
  readonly version: string
  readonly manifest?: Readonly<Record<string, unknown>>
  readonly files: Readonly<Record<string, string>>
}

export interface NpmRegistry extends AsyncDisposable {
  /** What makes the package manager ask here, and keep nothing beyond the test. */
  readonly env: Readonly<Record<string, string>>
}

/** The last version of each package is its latest one. */
export async function startNpmRegistry(packages: readonly PublishedPackage[]): Promise<NpmRegistry> {
  const directory = await mkdtemp(join(tmpdir(), "leapgate-registry-"))
  const tarballs = new Map<string, Uint8Array>()
  for (const published of packages) tarballs.set(idOf(published), await pack(published, directory))
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request): Response {
      const path = decodeURIComponent(new URL(request.url).pathname.slice(1))
      const tarball = tarballs.get(path.replace(/\.tgz$/, ""))
      if (tarball !== undefined) return new Response(Uint8Array.from(tarball))
      const versions = packages.filter(({ name }) => name === path)
      const latest = versions.at(-1)
      if (latest === undefined) return new Response("{}", { status: 404 })
      return Response.json({
        name: path,
        "dist-tags": { latest: latest.version },
        versions: Object.fromEntries(
          versions.map((published) => [
            published.version,
            { ...manifestOf(published), dist: distOf(published, new URL(request.url)) },
          ]),
        ),
      })
    },
  })
  return {
    env: {
      PATH: process.env.PATH ?? "",
      HOME: directory,
      NPM_CONFIG_REGISTRY: server.url.href,
      BUN_INSTALL_CACHE_DIR: join(directory, "cache"),
    },
    async [Symbol.asyncDispose]() {
      await server.stop(true)
      await rm(directory, { recursive: true, force: true })
    },
  }

  function distOf(published: PublishedPackage, base: URL) {
    const bytes = tarballs.get(idOf(published)) ?? new Uint8Array()
    const integrity = `sha512-${new Bun.CryptoHasher("sha512").update(bytes).digest("base64")}`
    return { tarball: new URL(`${encodeURIComponent(idOf(published))}.tgz`, base).href, integrity }
  }
}

const idOf = ({ name, version }: PublishedPackage): string => `${name}@${version}`

function manifestOf({ name, version, manifest = {} }: PublishedPackage) {
  return { name, version, ...manifest }
}

async function pack(published: PublishedPackage, directory: string): Promise<Uint8Array> {
  const folder = join(directory, Bun.hash(idOf(published)).toString(36))
  await mkdir(folder)
  await Bun.write(join(folder, "package.json"), JSON.stringify(manifestOf(published)))
  for (const [file, text] of Object.entries(published.files)) await Bun.write(join(folder, file), text)
  const tarball = join(folder, "package.tgz")
  const child = Bun.spawn([process.execPath, "pm", "pack", "--ignore-scripts", "--filename", tarball], {
    cwd: folder,
    env: { ...process.env, BUN_BE_BUN: "1" },
    stdout: "ignore",
    stderr: "pipe",
  })
  const [complaint] = await Promise.all([child.stderr.text(), child.exited])
  if (child.exitCode !== 0) throw new Error(`the package could not be packed: ${complaint}`)
  return Bun.file(tarball).bytes()
}
