export * from "@sinclair/typebox"
