/** What plugin authors import as `leapgate/testing`. */
export type { PluginCall } from "../plugin/call-recorder.ts"
export type { ChatOptions, ChatReply } from "./chat.ts"
export type { FakeUpstream, UpstreamReply, UpstreamRequest } from "./fake-upstream.ts"
export type { AnyPlugin, ConfigTree, TestApp, TestLogLine, TestPluginOptions } from "./test-app.ts"
export { testPlugin } from "./test-plugin.ts"
