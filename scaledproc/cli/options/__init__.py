"""Options of the commands: flags, the configuration file, tables of them for documents, what Tab offers."""
