"""The archive: old rows move from the database to Parquet files. docs/adr/0054.

`kinds.py` describes what can be archived, `batches.py` moves rows, `reading.py` reads them back,
`overview.py` counts. Only `parquet_files.py` needs pyarrow, and imports it when it is called: no
process that trades or serves pages carries it in its memory.
"""
