"""Raw rows from wherever orders lie: files, folders, archives, spreadsheets, object stores and databases."""
