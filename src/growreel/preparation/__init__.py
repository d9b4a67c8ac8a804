"""From videos to a clip store. (Not `prepare`: that is the function, `growreel.prepare`.)"""
