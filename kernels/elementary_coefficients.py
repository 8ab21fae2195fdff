#!/usr/bin/env python3
"""Prints the polynomial coefficients in elementary.hpp: interpolation at Chebyshev nodes, in 70 digits, then rounded.

Run by hand when a degree is changed; nothing in the build needs it.
"""
import struct
from decimal import Decimal as D, getcontext

getcontext().prec = 70
PI = D("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")


def series(term, ratio):
    """Sum of term, term*ratio(1), term*ratio(1)*ratio(2), ... until it stops changing."""
    total, n = D(0), 0
    while abs(term) > D(10) ** -68:
        total, n = total + term, n + 1
        term *= ratio(n)
    return total


def erf(x):
    return 2 / PI.sqrt() * (-x * x).exp() * series(x, lambda n: 2 * x * x / (2 * n + 1))


def cosine(x):
    return series(D(1), lambda n: -x * x / ((2 * n - 1) * (2 * n)))


def sine(x):
    return series(x, lambda n: -x * x / (2 * n * (2 * n + 1)))


def tanh(x):
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


def fit(f, low, high, degree):
    """Monomial coefficients, lowest first, of the polynomial through f at the Chebyshev nodes of [low, high]."""
    n = degree + 1
    xs = [(low + high) / 2 + (high - low) / 2 * cosine(PI * (2 * i + 1) / (2 * n)) for i in range(n)]
    newton = [f(x) for x in xs]  # divided differences
    for j in range(1, n):
        for i in range(n - 1, j - 1, -1):
            newton[i] = (newton[i] - newton[i - 1]) / (xs[i] - xs[i - j])
    out = [D(0)] * n
    for i in range(n - 1, -1, -1):  # Horner on the Newton form, expanded
        out = [(out[k - 1] if k else D(0)) - xs[i] * out[k] for k in range(n)]
        out[0] += newton[i]
    check = [low + (high - low) * D(i) / 97 for i in range(1, 97)]
    error = max(abs(sum(c * x**k for k, c in enumerate(out)) - f(x)) for x in check)
    return out, error


def show(name, f, low, high, single, double):
    """Prints both precisions; `high` may be a pair, (float, double)."""
    for kind, digits, degree, end in zip(("float", "double"), (9, 17), (single, double), high if isinstance(high, tuple) else (high, high)):
        c, error = fit(f, D(low), D(end), degree)
        rounded = [struct.unpack("f", struct.pack("f", float(v)))[0] if kind == "float" else float(v) for v in c]
        print(f"{name} {kind} degree {degree} error {float(error):.1e}: " + ", ".join(f"{v:.{digits}g}" for v in rounded))


def log_tail(z):
    s = z.sqrt()
    return (((1 + s) / (1 - s)).ln() / s - 2) / z


def scaled_erfc(w):
    """exp(t*t) * erfc(t) with w = (t - 2.5) / (t + 2.5)."""
    t = D("2.5") * (1 + w) / (1 - w)
    return (t * t).exp() * (1 - erf(t))


def ratio(t):
    return (D(t) - D("2.5")) / (D(t) + D("2.5"))


show("exp: (e^r-1-r)/r^2", lambda r: series(D("0.5"), lambda n: r / (n + 2)), "-0.3467", "0.3467", 4, 10)
show("log: (log((1+s)/(1-s))/s-2)/s^2 in s^2", log_tail, "1e-12", "0.02945", 3, 7)
show("tanh: (tanh(x)/x-1)/x^2 in x^2", lambda z: (tanh(z.sqrt()) / z.sqrt() - 1) / z, "1e-12", "0.391", 4, 12)
show("erf: (erf(x)/x-2/sqrt(pi))/x^2 in x^2", lambda z: (erf(z.sqrt()) / z.sqrt() - 2 / PI.sqrt()) / z, "1e-20", "1", 6, 13)
show("erfc: e^(t^2) erfc(t) in (t-2.5)/(t+2.5)", scaled_erfc, ratio(1), (ratio(4), ratio(6)), 6, 16)
show("sin: (sin(r)/r-1)/r^2 in r^2", lambda z: (sine(z.sqrt()) / z.sqrt() - 1) / z, "1e-12", "0.617", 3, 6)
show("cos: (cos(r)-1+r^2/2)/r^4 in r^2", lambda z: (cosine(z.sqrt()) - 1 + z / 2) / (z * z), "1e-8", "0.617", 2, 6)
