import { describe, expect, it } from 'vitest'
import { renderChart } from '../../bench/chart.ts'

const bar = (label: string, median: number) => ({
  label,
  value: { median, min: median, max: median },
  note: '',
  highlighted: false,
})

describe('renderChart', () => {
  it('escapes what it is given', () => {
    const svg = renderChart('"a" & <b>', '<script>', [{ ...bar('x < y', 1), note: '</svg>' }])
    expect(svg).toContain('&quot;a&quot; &amp; &lt;b&gt;')
    expect(svg).toContain('x &lt; y')
    expect(svg).not.toContain('<script>')
    expect(svg.match(/<\/svg>/g)).toHaveLength(1)
  })

  it('draws bars in proportion to their medians', () => {
    const svg = renderChart('title', 'subtitle', [bar('a', 1), bar('b', 2)])
    const [a = 0, b = 0] = [...svg.matchAll(/<rect [^>]* width="([\d.]+)"/g)].map(([, width]) => Number(width))
    expect(b / a).toBeCloseTo(2, 2)
  })

  it('keeps the longest spread inside the picture', () => {
    const svg = renderChart('title', 'subtitle', [{ ...bar('a', 1), value: { median: 1, min: 0.5, max: 3 } }])
    const width = Number(/viewBox="0 0 (\d+)/.exec(svg)?.[1])
    expect(Number(/class="spread" d="M[\d.]+ [\d.]+H([\d.]+)"/.exec(svg)?.[1])).toBeLessThan(width)
  })
})
