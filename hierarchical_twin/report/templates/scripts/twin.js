// The page of a twin: its tables can be saved, and it can be dark.
prepareSaving();
theme();
