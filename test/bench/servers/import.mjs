// Measures what the import of a module adds to this process, which has been started with a module as users' programs are.

const [rss, cpu, start] = [process.memoryUsage.rss(), process.cpuUsage(), performance.now()]
await import(process.argv[2])
const milliseconds = performance.now() - start
const { user, system } = process.cpuUsage(cpu)
const mib = (process.memoryUsage.rss() - rss) / 1024 ** 2
console.log(JSON.stringify({ milliseconds, cpu: (user + system) / 1000, mib }))
