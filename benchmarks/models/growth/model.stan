// Log volume is linear in time: V = V_0 exp(r t), lognormal error, correlated effects.
data {
  int N;
  int P;
  array[N] int id;
  vector[N] x;
  vector[N] y;
  int centered;
}
parameters {
  vector[2] typical;
  vector<lower=0>[2] omega;
  real<lower=0, upper=1> rho_unit;
  real<lower=0> sigma;
  vector[P] first;
  vector[P] second;
}
transformed parameters {
  real rho = 2 * rho_unit - 1;
  real rest = sqrt(1 - square(rho));
  vector[P] start;
  vector[P] slope;
  if (centered) {
    start = first;
    slope = second;
  } else {
    start = typical[1] + omega[1] * first;
    slope = typical[2] + omega[2] * (rho * first + rest * second);
  }
}
model {
  typical ~ normal([log(0.2), 0]', [1, 0.2]');
  omega ~ normal(0, [1, 0.1]');
  rho_unit ~ beta(2, 2);
  sigma ~ normal(0, 0.5);
  if (centered) {
    first ~ normal(typical[1], omega[1]);
    second ~ normal(typical[2] + omega[2] * rho / omega[1] * (first - typical[1]), omega[2] * rest);
  } else {
    first ~ std_normal();
    second ~ std_normal();
  }
  y ~ normal(start[id] + slope[id] .* x, sigma);
}
