export * from "../../src/testing/sdk.ts"
