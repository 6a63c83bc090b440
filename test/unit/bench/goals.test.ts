import { describe, expect, it } from 'vitest'
import { type Goal, judge } from '../../bench/goals.ts'
import type { Sample } from '../../bench/metrics.ts'

const faster: Goal = {
  text: 'faster',
  workload: 'hello',
  metric: 'rate',
  contender: 'zmtp',
  against: 'nginx',
  atLeast: 1.6,
}
const cheaper: Goal = {
  text: 'cheaper',
  workload: 'hello',
  metric: 'cpu',
  contender: 'zmtp',
  against: 'nginx',
  atMost: 0.4,
}
const small: Goal = { text: 'small', workload: 'idle', metric: 'memory', contender: 'zmtp', atMost: 20 }

const rates = (...values: number[]): Sample[] => values.map((rate) => ({ measures: { rate } }))

describe('judge', () => {
  it('takes ratios within rounds, and counts their median', () => {
    const [verdict] = judge([faster], { hello: { zmtp: rates(150, 320, 1700), nginx: rates(100, 200, 1000) } }, 20)
    expect(verdict).toEqual({ goal: faster, value: { median: 1.6, min: 1.5, max: 1.7 }, passed: true })
  })

  it.each([
    { goal: faster, measures: { rate: 159 }, passed: false },
    { goal: faster, measures: { rate: 160 }, passed: true },
    { goal: cheaper, measures: { cpu: 40 }, passed: true },
    { goal: cheaper, measures: { cpu: 41 }, passed: false },
  ])('$goal.text with $measures against 100: $passed', ({ goal, measures, passed }) => {
    const reference = [{ measures: { rate: 100, cpu: 100 } }]
    const [verdict] = judge([goal], { hello: { zmtp: [{ measures }], nginx: reference } }, 20)
    expect(verdict?.passed).toBe(passed)
  })

  it('judges an absolute goal by the measurement itself', () => {
    const [verdict] = judge([small], { idle: { zmtp: [{ measures: { memory: 21 } }] } }, 20)
    expect(verdict).toMatchObject({ value: { median: 21 }, passed: false })
  })

  it('leaves open what was not measured, on either side', () => {
    const verdicts = [
      ...judge([faster, small], {}, 20),
      ...judge([faster], { hello: { zmtp: rates(1) } }, 20),
      ...judge([faster], { hello: { nginx: rates(1) } }, 20),
    ]
    for (const { value, passed } of verdicts) expect({ value, passed }).toEqual({ value: undefined, passed: undefined })
  })

  it('counts a goal as missed when one of its measurements failed', () => {
    const zmtp = [...rates(1000), { failure: 'wrk saw 1 wrong status codes and 0 failed sockets' }]
    const [verdict] = judge([faster], { hello: { zmtp, nginx: rates(100, 100) } }, 20)
    expect(verdict).toMatchObject({ passed: false, failure: 'wrk saw 1 wrong status codes and 0 failed sockets' })
  })

  it('leaves open a goal whose reference failed in one round', () => {
    const nginx = [...rates(100), { failure: 'nginx ended' }]
    const [verdict] = judge([faster], { hello: { zmtp: rates(200, 200), nginx } }, 20)
    expect(verdict?.passed).toBeUndefined()
  })

  it('judges goals of a Node only on that one', () => {
    const on24 = { ...faster, nodes: [24] }
    const samples = { hello: { zmtp: rates(200), nginx: rates(100) } }
    expect(judge([on24], samples, 20)).toEqual([])
    expect(judge([on24], samples, 24)).toHaveLength(1)
  })
})
