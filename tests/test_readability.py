"""Pages read easily: below school grade 10, by Flesch and Kincaid."""

import pytest
import textstat

from tests import pages

GRADE = 10
MANUALS = [x for x in pages.PAGES if x.startswith('docs/') or x == 'README.md']


@pytest.mark.parametrize('page', MANUALS)
def test_a_page_reads_easily(page):
  grade = textstat.flesch_kincaid_grade(pages.sentences(pages.text(page)))
  assert grade < GRADE, f'{page} has grade {grade:.1f}: use shorter sentences'


def test_long_words_and_sentences_do_not():
  text = (
    'Reconstruction of multidimensional observations necessitates considerable '
    'computational capability, notwithstanding representational parsimony.'
  )
  assert textstat.flesch_kincaid_grade(pages.sentences(text)) > GRADE


def test_prose_alone_is_measured():
  text = (
    '# Head\n\nOne `code` [word](https://a.org/b) here. ![c](d.png)\n\n'
    '```sh\nls\n```\n\n| a | b |\n|---|---|\n| c | d |\n\nEnd.\n'
  )
  found = ' '.join(pages.sentences(text).split())
  assert found == 'Head One word here. End.'
