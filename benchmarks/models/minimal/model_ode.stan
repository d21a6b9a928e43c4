// The glucose minimal model by Stan's adaptive Runge-Kutta solver, as most would write it: insulin interpolated
// inside the right-hand side. Tolerances are the solver's own, 1e-6.
functions {
  vector slope(real t, vector state, real S_G, real S_I, real p_2, real G_b, array[] real time, vector start,
               vector rise) {
    int k = 1;
    while (k < num_elements(start) && t > time[k + 1]) k += 1;
    real excess = start[k] + rise[k] * (t - time[k]) / (time[k + 1] - time[k]);
    return [-(S_G + state[2]) * state[1] + S_G * G_b, -p_2 * state[2] + p_2 * S_I * excess]';
  }
  vector minimal(vector duration, vector start, vector rise, int count, real G_0, real S_G, real S_I, real p_2,
                 real G_b, array[] real time) {
    vector[count] glucose;
    array[count - 1] vector[2] states = ode_rk45(slope, [G_0, 0]', time[1], time[2 : count], S_G, S_I, p_2, G_b,
                                                 time[1 : count], start[1 : count - 1], rise[1 : count - 1]);
    glucose[1] = G_0;
    for (k in 2 : count) glucose[k] = states[k - 1, 1];
    return glucose;
  }
}
data {
  int P;
  int T;
  int N;
  array[P] int count;
  array[P, T] real time;
  array[P] vector[T - 1] duration;
  array[P] vector[T - 1] start;
  array[P] vector[T - 1] rise;
  vector[P] G_b;
  array[P] int used;
  array[P, T] int record;
  vector[N] y;
  int centered;
}
transformed data {
  vector[4] middle = log([260, 0.02, 5e-4, 0.03]');
}
parameters {
  vector[4] typical;
  vector<lower=0>[4] omega;
  real<lower=0> sigma;
  vector[P] first;
  vector[P] second;
  vector[P] third;
  vector[P] fourth;
}
transformed parameters {
  vector[P] log_G_0;
  vector[P] log_S_G;
  vector[P] log_S_I;
  vector[P] log_p_2;
  if (centered) {
    log_G_0 = first;
    log_S_G = second;
    log_S_I = third;
    log_p_2 = fourth;
  } else {
    log_G_0 = typical[1] + omega[1] * first;
    log_S_G = typical[2] + omega[2] * second;
    log_S_I = typical[3] + omega[3] * third;
    log_p_2 = typical[4] + omega[4] * fourth;
  }
}
model {
  vector[P] G_0 = exp(log_G_0);
  vector[P] S_G = exp(log_S_G);
  vector[P] S_I = exp(log_S_I);
  vector[P] p_2 = exp(log_p_2);
  vector[N] predicted;
  int place = 0;
  for (p in 1 : P) {
    vector[count[p]] glucose = minimal(duration[p], start[p], rise[p], count[p], G_0[p], S_G[p], S_I[p], p_2[p],
                                       G_b[p], time[p]);
    predicted[place + 1 : place + used[p]] = glucose[record[p, 1 : used[p]]];
    place += used[p];
  }
  typical ~ normal(middle, [0.3, 0.7, 1, 0.7]');
  omega ~ normal(0, 0.5);
  sigma ~ normal(0, 10);
  if (centered) {
    first ~ normal(typical[1], omega[1]);
    second ~ normal(typical[2], omega[2]);
    third ~ normal(typical[3], omega[3]);
    fourth ~ normal(typical[4], omega[4]);
  } else {
    first ~ std_normal();
    second ~ std_normal();
    third ~ std_normal();
    fourth ~ std_normal();
  }
  y ~ normal(predicted, sigma);
}
