def preprocess(c):
    print(c)
