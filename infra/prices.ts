// Owns the list prices that costs are computed with: US dollars, paid plans, November 2026; AWS in us-east-1. README "Costs" shows
// them; test/infra/costs.test.ts holds the two together, arithmetic included. Prices of AWS are from dated pages of others.

/** What one site used: object-store requests by class. Deletes are free on both clouds. */
export type Requests = { A: number; B: number };

/** Per million requests or messages, GB and month, or as named. Transfer to the internet is free. */
export const cloudflarePrices = {
  storageGbMonth: 0.015,
  classAPerMillion: 4.5,
  classBPerMillion: 0.36,
  queueOperationsPerMillion: 0.4,
  planMonth: 5,
  requestsPerMillion: 0.3,
  cpuMsPerMillion: 0.02,
} as const;

/** S3 Standard, standard SQS queues, arm64. Transfer to the internet is of the first 10 TB after 100 GB a month. */
export const awsPrices = {
  storageGbMonth: 0.023,
  classAPerMillion: 5,
  classBPerMillion: 0.4,
  internetGb: 0.09,
  interRegionGb: 0.02,
  queueRequestsPerMillion: 0.4,
  invocationsPerMillion: 0.2,
  millionGbSeconds: 13.3334,
  schedulesPerMillion: 1,
  secretMonth: 0.4,
  alarmMonth: 0.1,
  metricMonth: 0.3,
  logsGb: 0.5,
} as const;

/** US dollars for requests at R2's list price, free tier not counted. */
export const requestCostUsd = ({ A, B }: Requests): number =>
  (A * cloudflarePrices.classAPerMillion + B * cloudflarePrices.classBPerMillion) / 1e6;
