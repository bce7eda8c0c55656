"""A question about small tables: by a query in SQLite, proven by walking through the rows."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

from millrace.synthesis.families.contract import Problem
from millrace.synthesis.families.words import PEOPLE

ANSWER_TYPE = "integer"
TOPIC = r"sql|table|query|database|join|aggregat|表格|查询|数据库|连接|聚合"
DIAL = "the rows of both tables"

ROWS = {1: (3, 5), 2: (4, 8), 3: (5, 12), 4: (6, 18), 5: (8, 26)}
"""Level → customers, orders."""
CITIES = ("Lyon", "Oslo", "Porto")
GOODS = ("lamp", "chair", "desk", "shelf")

Rows = list[list[Any]]
"""As in the tables."""


def draw(rng: random.Random, level: int) -> Problem:
    """Customers, some without an order, and a question whose answer is not trivial."""
    customers, orders = ROWS[level]
    while True:
        names = rng.sample(PEOPLE["en"], customers)
        people = [[number, name, rng.choice(CITIES)] for number, name in enumerate(names, 1)]
        bought = [
            [number, rng.randint(1, customers), rng.choice(GOODS), rng.randint(1, 9), rng.randint(5, 60)]
            for number in range(1, orders + 1)
        ]
        problem = {
            "customers": people,
            "orders": bought,
            "ask": rng.choice(sorted(QUERIES)),
            "city": rng.choice(CITIES),
            "good": rng.choice(GOODS),
        }
        if abs(solve(problem) or 0) > 1:
            return problem


QUERIES = {
    "revenue": ("SELECT SUM(o.quantity * o.price) FROM orders o JOIN customers c ON c.id = o.customer WHERE c.city = "
":city AND o.good <> :good"),
    "largest": "SELECT MAX(total) FROM (SELECT SUM(quantity * price) total FROM orders WHERE good <> :good GROUP BY customer)",
    "above_mean": ("SELECT SUM(quantity) FROM orders WHERE price > (SELECT AVG(price) FROM orders o JOIN customers c ON "
"c.id = o.customer WHERE c.city = :city)"),
    "gap": ("SELECT MAX(total) - MIN(total) FROM (SELECT COALESCE(SUM(o.quantity), 0) total FROM customers c LEFT JOIN "
"orders o ON o.customer = c.id GROUP BY c.id)"),
    "several": ("SELECT SUM(o.quantity * o.price) FROM orders o WHERE o.customer IN (SELECT customer FROM orders GROUP "
"BY customer HAVING COUNT(DISTINCT good) >= 2)"),
    "dearest": ("SELECT SUM(o.quantity) FROM orders o WHERE o.price = (SELECT MAX(p.price) FROM orders p WHERE "
"p.customer = o.customer)"),
}  # fmt: skip


def solve(problem: Problem) -> int | None:
    """SQLite, in memory."""
    with sqlite3.connect(":memory:") as base:
        base.execute("CREATE TABLE customers (id INTEGER, name TEXT, city TEXT)")
        base.execute("CREATE TABLE orders (id INTEGER, customer INTEGER, good TEXT, quantity INTEGER, price INTEGER)")
        base.executemany("INSERT INTO customers VALUES (?, ?, ?)", problem["customers"])
        base.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", problem["orders"])
        (answer,) = base.execute(QUERIES[problem["ask"]], {"city": problem["city"], "good": problem["good"]}).fetchone()
    base.close()
    return None if answer is None else int(answer)


def _revenue(customers: Rows, orders: Rows, city: str, good: str) -> int:
    here = {number for number, _, place in customers if place == city}
    return sum(quantity * price for _, who, what, quantity, price in orders if who in here and what != good)


def _largest(customers: Rows, orders: Rows, city: str, good: str) -> int:
    totals: Counter[int] = Counter()
    for _, who, what, quantity, price in orders:
        totals[who] += quantity * price * (what != good)
    return max(totals.values())


def _above_mean(customers: Rows, orders: Rows, city: str, good: str) -> int:
    here = {number for number, _, place in customers if place == city}
    prices = [price for _, who, _, _, price in orders if who in here]
    return sum(quantity for _, _, _, quantity, price in orders if prices and price * len(prices) > sum(prices))


def _gap(customers: Rows, orders: Rows, city: str, good: str) -> int:
    totals = [sum(row[3] for row in orders if row[1] == number) for number, _, _ in customers]
    return int(max(totals) - min(totals))


def _several(customers: Rows, orders: Rows, city: str, good: str) -> int:
    goods: dict[int, set[str]] = {}
    for row in orders:
        goods.setdefault(row[1], set()).add(row[2])
    return sum(row[3] * row[4] for row in orders if len(goods[row[1]]) >= 2)


def _dearest(customers: Rows, orders: Rows, city: str, good: str) -> int:
    highest: dict[int, int] = {}
    for row in orders:
        highest[row[1]] = max(highest.get(row[1], 0), row[4])
    return sum(int(row[3]) for row in orders if row[4] == highest[row[1]])


WALKS: dict[str, Callable[[Rows, Rows, str, str], int]] = {
    "revenue": _revenue, "largest": _largest, "above_mean": _above_mean, "gap": _gap, "several": _several, "dearest": _dearest,
}  # fmt: skip


def verify(problem: Problem) -> int | None:
    """Row by row."""
    return WALKS[problem["ask"]](problem["customers"], problem["orders"], problem["city"], problem["good"])


def effort(problem: Problem) -> float:
    """The rows."""
    return float(len(problem["customers"]) + len(problem["orders"]))


def slips(problem: Problem) -> list[Any]:
    """The condition forgotten; quantities without prices; the rows counted."""
    orders = problem["orders"]
    return [sum(row[3] * row[4] for row in orders), sum(row[3] for row in orders), len(orders)]


ASKED = {
    "en": {
        "revenue": ("What is the total revenue (quantity times price) from customers in {city}, leaving out orders of "
"the good {good}?"),
        "largest": ("Leaving out orders of the good {good}, what is the largest total (quantity times price) that any "
"one customer has spent?"),
        "above_mean": ("How many units in all (sum of quantity) are in orders whose price is above the mean price of "
"the orders by customers in {city}?"),
        "gap": ("For each customer, take the sum of the quantities of their orders (0 for a customer without orders). "
"What is the difference between the largest and the smallest of these sums?"),
        "several": ("What is the total revenue (quantity times price) from those customers who ordered at least two "
"different goods?"),
        "dearest": ("For each customer who ordered something, take the orders at that customer's highest price. What is "
"the sum of the quantities of all these orders?"),
    },
    "zh": {
        "revenue": "住在 {city} 的客户的订单总额（数量乘以单价之和）是多少？good 为 {good} 的订单不计。",
        "largest": "不计 good 为 {good} 的订单，单个客户的最大消费总额（数量乘以单价之和）是多少？",
        "above_mean": "单价高于 {city} 客户订单平均单价的所有订单，数量之和是多少？",
        "gap": "对每个客户求其订单数量之和（没有订单的客户为 0）。这些和中最大者与最小者相差多少？",
        "several": "购买过至少两种不同商品（good）的客户，其订单总额（数量乘以单价之和）是多少？",
        "dearest": "对每个下过单的客户，取该客户最高单价对应的订单。所有这些订单的数量之和是多少？",
    },
}  # fmt: skip


def say(problem: Problem, language: str) -> str:
    """Both tables, and the question."""
    customers = "\n".join(f"{number} | {name} | {city}" for number, name, city in problem["customers"])
    orders = "\n".join(" | ".join(map(str, row)) for row in problem["orders"])
    asked = ASKED[language][problem["ask"]].format(city=problem["city"], good=problem["good"])
    opening = (
        "有两张表。orders.customer 对应 customers.id。"
        if language == "zh"
        else "There are two tables; orders.customer refers to customers.id."
    )
    return (
        f"{opening}\n\ncustomers: id | name | city\n{customers}\n\norders: id | customer | good | quantity | "
        f"price\n{orders}\n\n{asked}"
    )
