export { type AdminHandler, type AdminOptions, type AdminServer, createAdmin } from './admin.ts'
export type { AdminRequests, AdminSecond, AdminStats, Latency, RequestsByClass } from './monitor.ts'
