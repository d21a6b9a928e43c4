// The glucose minimal model, closed form, four independent effects. Between two records X and its integral are
// closed forms and G is a 4-point Gauss-Legendre sum, whose error (2e-3 mg/dL) is far below the residual SD.
functions {
  vector minimal(vector duration, vector start, vector rise, int count, real G_0, real S_G, real S_I, real p_2,
                 real G_b, vector node, vector weight) {
    int K = count - 1;
    vector[count] glucose;
    vector[K] d = duration[1 : K];
    vector[K] x = p_2 * d;
    vector[K] kept = exp(-x);
    vector[K] phi_1 = (1 - kept) ./ x;
    vector[K] phi_2 = (1 - phi_1) ./ x;
    vector[K] inflow = x .* (phi_1 .* start[1 : K] + phi_2 .* rise[1 : K]);
    vector[K] action;
    real now = 0;
    for (k in 1 : K) {
      action[k] = now;
      now = kept[k] * now + inflow[k];
    }
    vector[K] whole = d .* (S_G + S_I * (phi_1 .* action + x .* phi_2 .* start[1 : K]
                                         + (0.5 - phi_2) .* rise[1 : K]));
    vector[K] supplied = rep_vector(0, K);
    for (q in 1 : 4) {
      vector[K] z = node[q] * x;
      vector[K] first = (1 - exp(-z)) ./ z;
      vector[K] second = (1 - first) ./ z;
      vector[K] loss = node[q] * d .* (S_G + S_I * (first .* action + z .* second .* start[1 : K]
                                                    + (0.5 - second) .* (node[q] * rise[1 : K])));
      supplied += weight[q] * exp(loss - whole);
    }
    vector[K] left = exp(-whole);
    vector[K] supply = S_G * G_b * (d .* supplied);
    glucose[1] = G_0;
    for (k in 1 : K) glucose[k + 1] = left[k] * glucose[k] + supply[k];
    return glucose;
  }
}
data {
  int P;
  int T;
  int N;
  array[P] int count;
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
  vector[4] node = [0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262]';
  vector[4] weight = [0.17392742256872692, 0.32607257743127305, 0.32607257743127305, 0.17392742256872692]';
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
                                       G_b[p], node, weight);
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
