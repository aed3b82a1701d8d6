"""A trained foreword on disk: written atomically, read without running code, refused when it does not fit."""
