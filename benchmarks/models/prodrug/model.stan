// Losartan and its active metabolite after an oral dose: closed form, combined error, values below 10 censored.
data {
  int P;
  int N1;
  int N2;
  array[N1] int id1;
  array[N2] int id2;
  vector[N1] x1;
  vector[N2] x2;
  vector[N1] y1;
  vector[N2] y2;
  vector[N1] se1;
  vector[N2] se2;
  int M1;
  int M2;
  int C1;
  int C2;
  array[M1] int measured1;
  array[M2] int measured2;
  array[C1] int censored1;
  array[C2] int censored2;
  vector[P] alleles;
  vector[P] dose;
  int centered;
}
transformed data {
  vector[N1] s1 = fmax(x1 - 0.8, 0.0);
  vector[N2] s2 = fmax(x2 - 0.8, 0.0);
  vector[N1] v1 = square(se1);
  vector[N2] v2 = square(se2);
  vector[5] middle = log([200, 0.3, 0.05, 0.14, 2]');
}
parameters {
  vector[5] typical;
  real beta;
  vector<lower=0>[3] omega;
  vector<lower=0>[4] sigma;
  vector[P] first;
  vector[P] second;
  vector[P] third;
}
transformed parameters {
  vector[P] log_V;
  vector[P] log_k_act;
  vector[P] log_k_out;
  if (centered) {
    log_V = first;
    log_k_act = second;
    log_k_out = third;
  } else {
    log_V = typical[1] + omega[1] * first;
    log_k_act = typical[3] + beta * alleles + omega[2] * second;
    log_k_out = typical[4] + omega[3] * third;
  }
}
model {
  real k_el = exp(typical[2]);
  real k_a = exp(typical[5]);
  vector[P] k_act = exp(log_k_act);
  vector[P] out = exp(log_k_out);
  vector[P] loss = k_el + k_act;
  vector[P] given = 1000 * dose .* exp(-log_V) * k_a;
  vector[P] scale1 = given ./ (k_a - loss);
  vector[P] scale2 = given .* k_act;
  vector[N1] f1 = scale1[id1] .* (exp(-loss[id1] .* s1) - exp(-k_a * s1));
  vector[P] w1 = scale2 ./ ((loss - k_a) .* (out - k_a));
  vector[P] w2 = scale2 ./ ((k_a - loss) .* (out - loss));
  vector[P] w3 = scale2 ./ ((k_a - out) .* (loss - out));
  vector[N2] f2 = w1[id2] .* exp(-k_a * s2) + w2[id2] .* exp(-loss[id2] .* s2)
                  + w3[id2] .* exp(-out[id2] .* s2);
  vector[N1] sd1 = sqrt(square(sigma[1]) + square(sigma[2] * f1) + v1);
  vector[N2] sd2 = sqrt(square(sigma[3]) + square(sigma[4] * f2) + v2);
  typical ~ normal(middle, [1, 0.3, 1, 0.5, 0.3]');
  beta ~ normal(0, 1);
  omega ~ lognormal(log(0.4), 0.5);
  sigma ~ lognormal(log([5, 0.15, 5, 0.15]'), 0.5);
  if (centered) {
    first ~ normal(typical[1], omega[1]);
    second ~ normal(typical[3] + beta * alleles, omega[2]);
    third ~ normal(typical[4], omega[3]);
  } else {
    first ~ std_normal();
    second ~ std_normal();
    third ~ std_normal();
  }
  y1[measured1] ~ normal(f1[measured1], sd1[measured1]);
  y2[measured2] ~ normal(f2[measured2], sd2[measured2]);
  target += normal_lcdf(y1[censored1] | f1[censored1], sd1[censored1]);
  target += normal_lcdf(y2[censored2] | f2[censored2], sd2[censored2]);
}
