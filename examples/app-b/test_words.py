import unittest

from words import count_words


class CountWordsTest(unittest.TestCase):
    def test_counts(self):
        answer = count_words("The cat and the dog and the bird.")
        self.assertEqual(answer["words"], 8)
        self.assertEqual(answer["distinct"], 5)
        self.assertEqual(answer["top"][:2], [["the", 3], ["and", 2]])

    def test_ties_are_alphabetical(self):
        self.assertEqual(count_words("b a c")["top"], [["a", 1], ["b", 1], ["c", 1]])

    def test_words_of_other_languages(self):
        self.assertEqual(count_words("Été, été! Don't 42")["top"], [["été", 2], ["don't", 1]])

    def test_empty(self):
        self.assertEqual(count_words(""), {"words": 0, "distinct": 0, "top": []})


if __name__ == "__main__":
    unittest.main()
