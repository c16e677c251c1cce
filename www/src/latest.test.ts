import { expect, test } from 'vitest'
import { LatestWins } from './latest'

/** A worker whose jobs end when the test says so. */
function manual(): { done: number[]; started: number[]; finish: () => Promise<void>; worker: LatestWins<number> } {
  const [started, done]: [number[], number[]] = [[], []]
  let release = (): void => {}
  const worker = new LatestWins<number>(async (job) => {
    started.push(job)
    await new Promise<void>((resolve) => {
      release = resolve
    })
    done.push(job)
  })
  const finish = async (): Promise<void> => {
    release()
    await new Promise((resolve) => setTimeout(resolve))
  }
  return { done, started, finish, worker }
}

test('one job at a time, the newest of those that wait', async () => {
  const { done, started, finish, worker } = manual()
  for (const job of [1, 2, 3, 4]) worker.submit(job)
  expect(started).toEqual([1])
  await finish()
  expect([done, started]).toEqual([[1], [1, 4]])
  await finish()
  worker.submit(5)
  await finish()
  expect(done).toEqual([1, 4, 5])
})

test('a waiting job can be let go', async () => {
  const { started, finish, worker } = manual()
  worker.submit(1)
  worker.submit(2)
  worker.clear()
  await finish()
  expect(started).toEqual([1])
})
