/** Modules that plugins share with the host: they are left out of a plugin's bundle, and looked for nowhere. */
export const HOST_MODULES = ["leapgate/plugin", "@sinclair/typebox", "@sinclair/typebox/value"] as const

export type HostModule = (typeof HOST_MODULES)[number]
