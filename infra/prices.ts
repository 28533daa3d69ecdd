// Owns the list prices that costs are computed with (USD, paid plans, November 2026; see README "Costs").

/** What one site used: object-store requests by class. Deletes are free on both clouds. */
export type Requests = { A: number; B: number };

/** Cloudflare R2 Standard, per million requests. Transfer to the internet is free. */
export const r2Prices = { classAPerMillion: 4.5, classBPerMillion: 0.36 } as const;

/** US dollars for requests at R2's list price, free tier not counted. */
export const requestCostUsd = ({ A, B }: Requests): number =>
  (A * r2Prices.classAPerMillion + B * r2Prices.classBPerMillion) / 1e6;
