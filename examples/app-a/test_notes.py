import tempfile
import unittest

from notes import Notes


class NotesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.notes = Notes(directory.name)

    def test_write_read_remove(self):
        self.assertTrue(self.notes.write("milk", "two bottles"))
        self.assertFalse(self.notes.write("milk", "three bottles"))
        self.assertEqual(self.notes.read("milk"), "three bottles")
        self.assertEqual(self.notes.names(), ["milk"])
        self.notes.remove("milk")
        self.assertEqual(self.notes.names(), [])

    def test_missing(self):
        with self.assertRaises(FileNotFoundError):
            self.notes.read("nothing")

    def test_names_stay_inside(self):
        for name in ["../passwd", "a/b", "", ".hidden", "A"]:
            with self.assertRaises(ValueError, msg=name):
                self.notes.path(name)


if __name__ == "__main__":
    unittest.main()
