"""Functions that mkdocs calls while it builds the site, see `mkdocs.yml`."""

from typing import Any

from mkdocs.structure.files import File, Files

from experiments.site import generated, links

# Page to file of the repository, of all pages that are not generated.
_sources: dict[str, str] = {}


def on_files(files: Files, *, config: Any) -> Files:
  """Adds the pages that are generated, and those outside of `docs/`."""
  _sources.clear()
  _sources.update({x.src_uri: f'{links.DOCS}{x.src_uri}' for x in files})
  _sources.update(links.outside())
  for page, path in links.outside().items():
    text = links.shown(path)
    if path.endswith('.md'):
      text = (links.ROOT / path).read_text('utf-8')
    files.append(File.generated(config, page, content=text))
  for page, text in generated.pages().items():
    files.append(File.generated(config, page, content=text))
  return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files):
  """Rewrites the links of what was written for the repository."""
  source = _sources.get(page.file.src_uri)
  return links.rewritten(markdown, source) if source else markdown
