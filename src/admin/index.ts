export { type AdminHandler, type AdminOptions, type AdminServer, createAdmin } from './admin.ts'
export type { AdminSecond, AdminStats, EndedRequests, Latency, RequestsByClass } from './monitor.ts'
