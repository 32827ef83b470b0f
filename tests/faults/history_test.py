#!/usr/bin/env python3
"""Which histories history.py must refuse, and which it must not."""
import itertools
import math
import random
import unittest

from history import NOTHING, after, operation, order, problems

def get(begun, ended, result, key="a"):
    return operation("get", key, begun, ended, result=result)

def put(begun, ended, value, key="a"):
    return operation("put", key, begun, ended, value=value, result=value)

def cas(begun, ended, former, value, result, key="a"):
    return operation("cas", key, begun, ended, former, value, result)

def append(begun, ended, value, result, key="a"):
    return operation("append", key, begun, ended, value=value, result=result)

def unknown(one):
    return one._replace(ended=math.inf, result=None)

class Histories(unittest.TestCase):
    def accepts(self, *operations):
        self.assertEqual(problems(operations), [])

    def refuses(self, *operations):
        self.assertEqual(len(problems(operations)), 1)

    def test_one_after_the_other(self):
        self.accepts(get(1, 2, NOTHING), put(3, 4, "x"), get(5, 6, "x"), cas(7, 8, "x", "y", "y"), get(9, 10, "y"),
                     append(11, 12, "z", "y+z"), cas(13, 14, "y", "w", "y+z"))

    def test_nothing_at_all(self):
        self.accepts()

    def test_a_stale_read_is_refused(self):
        self.refuses(put(1, 2, "x"), put(3, 4, "y"), get(5, 6, "x"))

    def test_a_read_of_the_first_state_behind_a_write_is_refused(self):
        self.refuses(put(1, 2, "x"), get(3, 4, NOTHING))

    def test_a_lost_write_is_refused(self):
        self.refuses(get(1, 2, NOTHING), append(3, 4, "x", "nothing+x"), append(5, 6, "y", "nothing+y"))

    def test_two_that_swap_the_same_value_are_refused(self):
        self.refuses(put(1, 2, "x"), cas(3, 6, "x", "y", "y"), cas(4, 5, "x", "z", "z"))

    def test_a_swap_that_failed_without_a_reason_is_refused(self):
        self.refuses(put(1, 2, "x"), cas(3, 4, "x", "y", "w"))

    def test_what_nobody_wrote_is_refused(self):
        self.refuses(put(1, 2, "x"), get(3, 4, "y"))

    def test_two_readers_that_saw_another_order_are_refused(self):
        self.refuses(put(1, 9, "x"), put(1, 9, "y"), get(2, 3, "x"), get(4, 5, "y"), get(6, 7, "x"))

    def test_a_read_before_its_write_was_begun_is_refused(self):
        self.refuses(get(1, 2, "x"), put(3, 4, "x"))

    def test_those_at_the_same_time_come_in_any_order(self):
        for first, last in ("x", "y"), ("y", "x"):
            self.accepts(put(1, 9, "x"), put(1, 9, "y"), get(2, 3, first), get(4, 5, last))

    def test_a_read_during_a_write_sees_either(self):
        for seen in "x", "y":
            self.accepts(put(1, 2, "x"), put(3, 9, "y"), get(4, 5, seen))
        self.refuses(put(1, 2, "x"), put(3, 9, "y"), get(4, 5, "y"), get(6, 7, "x"))

    def test_what_is_unknown_may_happen_late_or_never(self):
        self.accepts(unknown(put(1, 2, "x")), get(3, 4, NOTHING), get(5, 6, "x"))
        self.accepts(unknown(put(1, 2, "x")), get(3, 4, NOTHING), put(5, 6, "y"), get(7, 8, "y"))

    def test_what_is_unknown_happens_once(self):
        self.refuses(unknown(put(1, 2, "x")), get(3, 4, "x"), put(5, 6, "y"), get(7, 8, "x"))

    def test_what_is_unknown_does_not_happen_before_it_was_begun(self):
        self.refuses(get(1, 2, "x"), unknown(put(3, 4, "x")))

    def test_what_is_built_on_something_unknown_shows_that_it_happened(self):
        self.accepts(unknown(put(1, 2, "x")), unknown(cas(3, 4, "x", "y", "y")), get(5, 6, "y"))
        self.refuses(unknown(put(1, 2, "x")), unknown(cas(3, 4, "x", "y", "y")), get(5, 6, "y"), get(7, 8, "x"))

    def test_of_what_was_appended_the_last_parts_are_kept(self):
        self.accepts(put(1, 2, "x"), append(3, 4, "y", "x+y"), append(5, 6, "z", "x+y+z"), append(7, 8, "w", "y+z+w"))
        self.refuses(put(1, 2, "x"), append(3, 4, "y", "x+y"), append(5, 6, "z", "x+y+z"), append(7, 8, "w", "x+y+w"))

    def test_registers_are_apart(self):
        self.accepts(put(1, 2, "x", "a"), get(3, 4, NOTHING, "b"), put(5, 6, "y", "b"), get(7, 8, "x", "a"))
        self.assertEqual(len(problems([get(1, 2, "x", "a"), get(1, 2, "x", "b"), get(1, 2, NOTHING, "c")])), 2)

    def test_the_place_is_a_hint_and_no_more(self):
        wrong = [put(1, 9, "x")._replace(place=2), put(1, 9, "y")._replace(place=1), get(2, 3, "x"), get(4, 5, "y")]
        self.accepts(*wrong)

    def test_it_agrees_with_trying_all_orders(self):
        """Of small histories by chance, right and wrong ones."""
        verdicts = set()
        for seed in range(6000):
            operations = small_history(random.Random(seed))
            expected = any(could_be(some) for some in orders(operations))
            self.assertEqual(order(operations) is not None, expected, f"seed {seed}: {operations}")
            verdicts.add(expected)
        self.assertEqual(verdicts, {True, False})

    def test_it_is_quick_where_many_wait_at_once(self):
        operations, state = [], NOTHING
        for i in range(2000):
            what = ("put", "append", "get", "cas")[i % 4]
            one = operation(what, "a", i, i + 60, state, f"v{i}")
            state, result = after(state, one)
            operations.append(one._replace(result=result, place=i))
        self.assertEqual(problems(operations), [])

def small_history(chance):
    """Some operations on one register, some of them unknown. Now and then a result is not what it was."""
    operations, state, time = [], NOTHING, 0
    for i in range(chance.randint(2, 6)):
        time += chance.randint(1, 3)
        former = chance.choice([NOTHING, *(one.value for one in operations)]) if operations else NOTHING
        one = operation(chance.choice(("get", "put", "cas", "append", "append")), "a", time - chance.randint(0, 4),
                        time + chance.randint(1, 4), former, f"v{i}")
        happens = chance.random() < 0.9
        new, result = after(state, one)
        if chance.random() < 0.25:
            operations.append(unknown(one))
            state = new if happens else state
        else:
            state = new
            operations.append(one._replace(result=result))
    if chance.random() < 0.5:
        at = chance.randrange(len(operations))
        if operations[at].known:
            result = chance.choice([NOTHING, *(one.value for one in operations)])
            operations[at] = operations[at]._replace(result=result)
    return operations

def orders(operations):
    """All orders of all known ones with any of the unknown ones in which nobody comes before one that had ended."""
    known = [one for one in operations if one.known]
    doubtful = [one for one in operations if not one.known]
    for count in range(len(doubtful) + 1):
        for some in itertools.combinations(doubtful, count):
            for each in itertools.permutations(known + list(some)):
                if all(later.ended >= earlier.begun for earlier, later in itertools.combinations(each, 2)):
                    yield each

def could_be(operations):
    state = NOTHING
    for one in operations:
        state, result = after(state, one)
        if one.known and result != one.result:
            return False
    return True

if __name__ == "__main__":
    unittest.main()
