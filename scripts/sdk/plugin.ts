export * from "../../src/plugin/sdk.ts"
