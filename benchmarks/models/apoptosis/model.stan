// Survival is logistic in log dose, its threshold the patient's own, its steepness common.
data {
  int N;
  int P;
  array[N] int id;
  vector[N] x;
  vector[N] y;
  vector[P] tp53;
  int centered;
}
parameters {
  vector[2] typical;
  real beta;
  vector<lower=0>[1] omega;
  real<lower=0> sigma;
  vector[P] first;
}
transformed parameters {
  vector[P] threshold;
  if (centered) {
    threshold = first;
  } else {
    threshold = typical[1] + beta * tp53 + omega[1] * first;
  }
}
model {
  typical ~ normal([log(2.5), 0]', [1.5, 0.5]');
  beta ~ normal(0, 1);
  omega ~ normal(0, 1);
  sigma ~ normal(0, 0.3);
  if (centered) {
    first ~ normal(typical[1] + beta * tp53, omega[1]);
  } else {
    first ~ std_normal();
  }
  y ~ normal(inv_logit(exp(typical[2]) * (threshold[id] - x)), sigma);
}
